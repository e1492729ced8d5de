import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect } from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createServer } from 'node:tls';
import { Connection } from '@temporalio/client';
import { NativeConnection } from '@temporalio/worker';
import { parseSettings } from '../../../domain/settings';
import { reachTemporal, temporalUrlOf } from '../../../activities/temporal/connect';

/** Temporal is reached as the variables of its CLI say: the same names, so that what works there works here. */

let place: string;
beforeAll(() => {
  place = mkdtempSync(path.join(os.tmpdir(), 'holdfast-reach-'));
});
afterAll(() => rmSync(place, { recursive: true }));

const temporalOf = (env: Record<string, string>) =>
  parseSettings({ DATABASE_URL: 'postgres://localhost/holdfast', ...env }).temporal;
const reach = (env: Record<string, string>) => reachTemporal(temporalOf(env));
const file = (name: string, content: string) => {
  writeFileSync(path.join(place, name), content);
  return path.join(place, name);
};

test('nothing said: the server of this machine, in the clear', () => {
  expect(reach({})).toEqual({ options: { address: '127.0.0.1:7233' }, namespace: 'default' });
  expect(reach({ TEMPORAL_NAMESPACE: '' }).namespace).toBe('default');
});

test('a key or a certificate means TLS', () => {
  const cloud = { TEMPORAL_ADDRESS: 'eu.temporal.example:7233', TEMPORAL_NAMESPACE: 'shop.a1b2c' };
  expect(reach({ ...cloud, TEMPORAL_API_KEY: 'secret' })).toEqual({
    options: { address: 'eu.temporal.example:7233', apiKey: 'secret', tls: true },
    namespace: 'shop.a1b2c',
  });
  const pair = { TEMPORAL_TLS_CLIENT_CERT_DATA: 'a certificate', TEMPORAL_TLS_CLIENT_KEY_DATA: 'a key' };
  expect(reach({ ...cloud, ...pair }).options.tls).toMatchObject({
    clientCertPair: { crt: Buffer.from('a certificate'), key: Buffer.from('a key') },
  });
});

test('the names that they had before mean the same, and two that differ are refused', () => {
  const [ca, crt, key] = [file('ca', 'an authority'), file('crt', 'a certificate'), file('key', 'a key')];
  const former = { TEMPORAL_TLS_CA: ca, TEMPORAL_TLS_CERT: crt, TEMPORAL_TLS_KEY: key };
  const now = {
    TEMPORAL_TLS_SERVER_CA_CERT_PATH: ca,
    TEMPORAL_TLS_CLIENT_CERT_PATH: crt,
    TEMPORAL_TLS_CLIENT_KEY_PATH: key,
  };
  expect(reach(former)).toEqual(reach(now));
  expect(reach(now).options.tls).toMatchObject({ serverRootCACertificate: readFileSync(ca) });
  expect(reach({ ...former, ...now })).toEqual(reach(now));
  expect(() => reach({ ...now, TEMPORAL_TLS_CA: crt })).toThrow(
    'TEMPORAL_TLS_CA is TEMPORAL_TLS_SERVER_CA_CERT_PATH now, and both are set',
  );
});

test('a profile counts where one is named, and only there', () => {
  const config = file('temporal.toml', '[profile.shop]\naddress = "shop.example:7233"\nnamespace = "shop"\n');
  const named = { TEMPORAL_CONFIG_FILE: config, TEMPORAL_PROFILE: 'shop' };
  expect(reach(named)).toEqual({ options: { address: 'shop.example:7233' }, namespace: 'shop' });
  expect(reach({ ...named, TEMPORAL_NAMESPACE: 'other' }).namespace).toBe('other');
  expect(temporalUrlOf(temporalOf({ ...named, TEMPORAL_UI_URL: 'http://ui.example' }))('w')).toContain(
    '/shop/',
  );

  mkdirSync(path.join(place, 'temporalio'));
  file(
    'temporalio/temporal.toml',
    '[profile.default]\naddress = "cloud.example:7233"\n[profile.shop]\nnamespace = "ours"\n',
  );
  const atHome = { XDG_CONFIG_HOME: place, HOME: place };
  expect(reach({ ...atHome, TEMPORAL_PROFILE: 'shop' }).namespace).toBe('ours');
  expect(reach(atHome).options.address).toBe('127.0.0.1:7233');
  expect(() => reach({ TEMPORAL_CONFIG_FILE: path.join(place, 'no-such.toml') })).toThrow('no-such.toml');
  const home = process.env['HOME'];
  const configHome = process.env['XDG_CONFIG_HOME'];
  try {
    process.env['HOME'] = place;
    process.env['XDG_CONFIG_HOME'] = place;
    expect(reach({}).options.address).toBe('127.0.0.1:7233');
  } finally {
    process.env['HOME'] = home;
    if (configHome === undefined) delete process.env['XDG_CONFIG_HOME'];
    else process.env['XDG_CONFIG_HOME'] = configHome;
  }
  expect(() => reach({ TEMPORAL_CONFIG_FILE: config, TEMPORAL_PROFILE: 'shop2' })).toThrow('shop2');
  expect(() => reach({ TEMPORAL_TLS_SERVER_CA_CERT_PATH: path.join(place, 'no-such-file') })).toThrow(
    'no-such-file',
  );
});

const withOpenssl = spawnSync('openssl', ['version']).status === 0 ? describe : describe.skip;

withOpenssl('over TLS', () => {
  test('a server that wants a certificate is reached with one, by client and worker, and by none without', async () => {
    const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: place, stdio: 'pipe' });
    const subject = (name: string) => ['-subj', `/CN=${name}`, '-days', '2', '-newkey', 'rsa:2048', '-nodes'];
    const san = [
      '-addext',
      'subjectAltName=DNS:temporal.example',
      '-addext',
      'basicConstraints=critical,CA:FALSE',
    ];
    openssl(
      'req',
      '-x509',
      ...subject('temporal.example'),
      ...san,
      '-keyout',
      'server.key',
      '-out',
      'server.crt',
    );
    openssl('req', '-x509', ...subject('holdfast'), '-keyout', 'client.key', '-out', 'client.crt');
    const at = (name: string) => path.join(place, name);
    const [host = '', port = ''] = (process.env['HOLDFAST_TEST_TEMPORAL'] ?? '').split(':');
    const server = createServer(
      {
        key: readFileSync(at('server.key')),
        cert: readFileSync(at('server.crt')),
        ca: readFileSync(at('client.crt')),
        requestCert: true,
        ALPNProtocols: ['h2'],
      },
      (secure) => {
        const plain = connect(Number(port), host);
        secure.pipe(plain).pipe(secure);
        secure.on('error', () => plain.destroy());
        plain.on('error', () => secure.destroy());
      },
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port: securePort } = server.address() as AddressInfo; // it listens
    const trusting = {
      TEMPORAL_ADDRESS: `127.0.0.1:${securePort}`,
      TEMPORAL_TLS_SERVER_CA_CERT_PATH: at('server.crt'),
      TEMPORAL_TLS_SERVER_NAME: 'temporal.example',
    };
    const { options } = reach({
      ...trusting,
      TEMPORAL_TLS_CLIENT_CERT_PATH: at('client.crt'),
      TEMPORAL_TLS_CLIENT_KEY_PATH: at('client.key'),
    });
    try {
      const client = await Connection.connect(options);
      expect(await client.workflowService.getSystemInfo({})).toHaveProperty('serverVersion');
      await client.close();
      await (await NativeConnection.connect(options)).close();
      await expect(Connection.connect({ ...reach(trusting).options, connectTimeout: 3_000 })).rejects.toThrow(
        'Failed to connect',
      );
    } finally {
      server.close();
    }
  }, 60_000);
});
