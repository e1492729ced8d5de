# syntax=docker/dockerfile:1
# One image for every process of Holdfast; docker-compose.yml says which entry point a container runs.

# Debian, not Alpine: Temporal's native core is built against glibc.
FROM node:22.20.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY domain ./domain
COPY db ./db
COPY activities ./activities
COPY workflows ./workflows
COPY api ./api
RUN npm run build && npm prune --omit=dev

FROM node:22.20.0-bookworm-slim AS runtime
# The slim image has no root certificates, and Temporal Cloud is reached over TLS.
RUN apt-get update \
  && apt-get install --yes --no-install-recommends ca-certificates \
  && rm -rf /var/lib/apt/lists/*
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
# Read at run time from beside dist: plain SQL and plain data are not compiled.
COPY db/migrations ./db/migrations
COPY catalogs ./catalogs
USER node
EXPOSE 3000
CMD ["node", "dist/api/main.js"]
