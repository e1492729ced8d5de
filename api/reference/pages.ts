import { dirname, join } from 'node:path';
import express from 'express';
import { problemTable, type Table } from './tables';
import { methodNotAllowed } from '../http/methodNotAllowed';

/** `/docs`: Swagger UI over /openapi.json, from files of our own, so that it works without the internet. */

/** For every page and answer. No inline script anywhere; Swagger UI sets inline styles and data: images. */
export const CONTENT_SECURITY = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'self'"],
    styleSrc: ["'self'", "'unsafe-inline'"],
    imgSrc: ["'self'", 'data:'],
    objectSrc: ["'none'"],
    baseUri: ["'none'"],
    formAction: ["'self'"],
    frameAncestors: ["'none'"],
  },
};

const ASSETS = ['swagger-ui.css', 'swagger-ui-bundle.js', 'favicon-32x32.png'] as const;

const INITIALIZER = `window.ui = SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#docs',
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
`;

const DOCS_PAGE = htmlPage({
  title: 'Holdfast API',
  head: '<link rel="stylesheet" href="/docs/swagger-ui.css">',
  body: `<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/initializer.js"></script>`,
});

export function docsPages(): express.Router {
  const assets = dirname(require.resolve('swagger-ui-dist/package.json'));
  const problemsPage = renderProblemsPage();
  const router = express.Router();
  router.get('/docs', (_request, response) => {
    response.type('html').send(DOCS_PAGE);
  });
  router.get('/docs/problems', (_request, response) => {
    response.type('html').send(problemsPage);
  });
  router.get('/docs/initializer.js', (_request, response) => {
    response.type('js').send(INITIALIZER);
  });
  for (const name of ASSETS) {
    router.get(`/docs/${name}`, (_request, response, next) => {
      response.set('Cache-Control', 'public, max-age=3600');
      const options = { cacheControl: false, acceptRanges: false };
      response.sendFile(join(assets, name), options, (error: (Error & { status?: number }) | undefined) => {
        if (error?.status === 412)
          response.status(412).end(); // what the client has is another one
        else if (error !== undefined) next(error);
      });
    });
  }
  router.all(
    ['/docs', '/docs/problems', '/docs/initializer.js', ...ASSETS.map((name) => `/docs/${name}`)],
    methodNotAllowed(['GET']),
  );
  return router;
}

function renderProblemsPage(): string {
  return htmlPage({
    title: 'Holdfast: problem codes',
    head: '<style>body{font:16px/1.5 sans-serif;margin:2rem}td,th{text-align:left;padding:.3rem 1rem .3rem 0}</style>',
    body: `<h1>Problem codes</h1>\n${htmlTable(problemTable())}`,
  });
}

function htmlPage({ title, head, body }: { title: string; head: string; body: string }): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<link rel="icon" href="/docs/favicon-32x32.png">
${head}
</head>
<body>
${body}
</body>
</html>
`;
}

/** The first cell of a row is its anchor, which is where a problem's `type` points. */
function htmlTable({ head, rows }: Table): string {
  const heading = head.map((cell) => `<th>${cell}</th>`).join('');
  const body = rows.map(([first = '', ...rest]) => {
    const cells = [first, ...rest].map((cell) => `<td>${escaped(cell)}</td>`).join('');
    return `<tr id="${first.replaceAll('`', '')}">${cells}</tr>`;
  });
  return `<table>\n<tr>${heading}</tr>\n${body.join('\n')}\n</table>`;
}

/** Cells are Markdown with code spans only. */
function escaped(cell: string): string {
  return cell
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/`([^`]*)`/g, '<code>$1</code>');
}
