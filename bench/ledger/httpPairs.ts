import { randomUUID } from 'node:crypto';
import http from 'node:http';
import { latencies, percentile } from '../kit/latency';
import { perSecond } from '../kit/measure';

/**
 * The load generator over HTTP: a number of clients, each with a connection of its own, holding and capturing over and
 * over. Prints its figures as the last line. Arguments: one JSON object.
 */
export interface HttpPairOptions {
  baseUrl: string;
  adminKey: string;
  account: string;
  clients: number;
  seconds: number;
}

export interface HttpFigures {
  pairsPerSecond: number;
  /** Milliseconds for a pair: two requests, one after the other. */
  p50Ms: number;
  p99Ms: number;
}

async function main(): Promise<void> {
  const options = JSON.parse(process.argv[2] ?? '') as HttpPairOptions; // bench/ledger/ledger.ts wrote it
  const { baseUrl, adminKey, account, clients, seconds } = options;
  const agent = new http.Agent({ keepAlive: true, maxSockets: clients });
  const { hostname, port } = new URL(baseUrl);

  const post = (path: string, body: string, key: string, status: number) =>
    new Promise<string>((resolve, reject) => {
      const request = http.request(
        {
          agent,
          hostname,
          port,
          path,
          method: 'POST',
          headers: {
            authorization: `Bearer ${adminKey}`,
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(body),
            'idempotency-key': key,
          },
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => {
            text += chunk;
          });
          response.on('end', () =>
            response.statusCode === status
              ? resolve(text)
              : reject(new Error(`${path} answered ${response.statusCode}: ${text}`)),
          );
          response.on('error', reject);
        },
      );
      request.on('error', reject);
      request.end(body);
    });

  const hold = JSON.stringify({ account, credits: 2, ttlSeconds: 600, feature: 'bench' });
  const times = latencies();
  const pair = async () => {
    const startedMs = performance.now();
    const text = await post('/v1/holds', hold, randomUUID(), 201);
    const { id } = JSON.parse(text) as { id: string }; // 201: it is a hold
    await post(`/v1/holds/${id}/capture`, '{}', randomUUID(), 200);
    times.add(performance.now() - startedMs);
  };

  await perSecond({ clients, seconds: 1, work: pair });
  times.clear();
  const pairsPerSecond = await perSecond({ clients, seconds, work: pair });
  const figures: HttpFigures = {
    pairsPerSecond,
    p50Ms: percentile(times.all(), 50),
    p99Ms: percentile(times.all(), 99),
  };
  console.log(JSON.stringify(figures));
  agent.destroy();
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
