import { connect, createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';

/** A TCP proxy of the test's own, between a process and a server that it can then not reach, or only half. */
export interface Proxy {
  /** `127.0.0.1:<port>`. */
  address: string;
  /** The same database, by this way. */
  through(url: string): string;
  /** Cuts every connection, and takes no more. */
  cut(): void;
  mend(): void;
  /**
   * Once: when a client has sent what `sees` matches, the server's answer to it is lost, every connection is cut and no more are
   * taken until `mend`. Resolves then.
   */
  loseAnswerTo(sees: (sent: string) => boolean): Promise<void>;
  close(): Promise<void>;
}

export async function startProxy(target: { host: string; port: number }): Promise<Proxy> {
  const pairs = new Set<{ client: Socket; server: Socket; losing: boolean }>();
  let open = true;
  let trap: { sees: (sent: string) => boolean; sprung: () => void } | null = null;

  const cut = () => {
    open = false;
    for (const { client, server } of pairs) {
      client.destroy();
      server.destroy();
    }
  };
  const listener: Server = createServer((client) => {
    if (!open) {
      client.destroy();
      return;
    }
    const pair = { client, server: connect(target), losing: false };
    pairs.add(pair);
    const end = () => {
      client.destroy();
      pair.server.destroy();
      pairs.delete(pair);
    };
    for (const socket of [client, pair.server]) {
      socket.on('close', end);
      socket.on('error', end);
    }
    client.on('data', (chunk) => {
      if (trap?.sees(chunk.toString('latin1')) === true) pair.losing = true;
      pair.server.write(chunk);
    });
    pair.server.on('data', (chunk) => {
      if (!pair.losing || trap === null) {
        client.write(chunk);
        return;
      }
      const { sprung } = trap;
      trap = null;
      cut();
      sprung();
    });
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const bound = listener.address();
  if (bound === null || typeof bound === 'string') throw new Error('the proxy has no port');
  const address = `127.0.0.1:${bound.port}`;

  return {
    address,
    through: (url) => Object.assign(new URL(url), { host: address }).toString(),
    cut,
    mend() {
      open = true;
    },
    loseAnswerTo: (sees) =>
      new Promise((sprung) => {
        trap = { sees, sprung };
      }),
    async close() {
      cut();
      listener.close();
      await once(listener, 'close');
    },
  };
}

/** Host and port of `127.0.0.1:7233` or of a database's URL. */
export function targetOf(where: string): { host: string; port: number } {
  const { hostname, port } = new URL(where.includes('://') ? where : `tcp://${where}`);
  return { host: hostname, port: Number(port) };
}
