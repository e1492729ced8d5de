#!/bin/sh
# Makes the namespace and the search attributes that Holdfast's workflows set. Safe to run at every start.
set -eu

attempts=60
until temporal operator cluster health >/dev/null 2>&1; do
  attempts=$((attempts - 1))
  if [ "$attempts" -eq 0 ]; then
    echo "Temporal at $TEMPORAL_ADDRESS did not become healthy within a minute; see: docker compose logs temporal" >&2
    exit 1
  fi
  sleep 1
done

if ! temporal operator namespace describe --namespace "$TEMPORAL_NAMESPACE" >/dev/null 2>&1; then
  temporal operator namespace create --namespace "$TEMPORAL_NAMESPACE" --retention "$RETENTION"
fi

# A new namespace reaches the server's caches within some ten seconds; until then it is refused as unknown.
attempts=60
until existing=$(temporal operator search-attribute list --namespace "$TEMPORAL_NAMESPACE" 2>/dev/null); do
  attempts=$((attempts - 1))
  if [ "$attempts" -eq 0 ]; then
    echo "The namespace $TEMPORAL_NAMESPACE was made but cannot be used; see: docker compose logs temporal" >&2
    exit 1
  fi
  sleep 1
done

for attribute in $SEARCH_ATTRIBUTES; do
  if ! echo "$existing" | grep -qw "$attribute"; then
    temporal operator search-attribute create --namespace "$TEMPORAL_NAMESPACE" --name "$attribute" --type Keyword
  fi
done
