import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import {
  accountOf,
  accountWorkflowId,
  canonicalJson,
  generationId,
  holdIdOf,
  purchaseId,
  requestHash,
} from '../../domain/ids';

describe('ids', () => {
  it('carry their account and the hash of the key', () => {
    const hash = createHash('sha256').update('order-1').digest('hex').slice(0, 32);
    const generation = generationId('ada', 'order-1');
    expect(generation).toBe(`gen_ada.${hash}`);
    expect(holdIdOf(generation)).toBe(`hold_ada.${hash}`);
    expect(purchaseId('ada', 'order-1')).toBe(`pur_ada.${hash}`);
    expect(accountWorkflowId('ada')).toBe('acct_ada');
  });

  it('give back the account of every id made for it, whatever the key', () => {
    const account = fc.stringMatching(/^[A-Za-z0-9_-]{1,64}$/);
    fc.assert(
      fc.property(account, fc.string({ minLength: 1, unit: 'grapheme' }), (name, key) => {
        const id = generationId(name, key);
        expect([id, holdIdOf(id), purchaseId(name, key)].map(accountOf)).toEqual([name, name, name]);
      }),
    );
  });

  it.each(['', 'gen_', 'gen_ada', 'gen_ada.', 'gen_a/b.1', 'run_ada.1', 'xgen_ada.1', 'gen_ada.1.2'])(
    'name no account where they are malformed: %j',
    (id) => {
      expect(accountOf(id)).toBeNull();
    },
  );
});

describe('the hash of a request', () => {
  const request = {
    method: 'POST',
    route: '/v1/generations',
    body: { account: 'ada', params: { a: 1, b: [2] } },
  };

  it('does not depend on the order of fields, on fields left undefined, or on `confirm`', () => {
    const body = { confirm: true, params: { b: [2], a: 1 }, model: undefined, account: 'ada' };
    expect(requestHash({ ...request, body })).toBe(requestHash(request));
  });

  it('depends on everything else', () => {
    const others = [
      { ...request, method: 'PUT' },
      { ...request, route: '/v1/quotes' },
      { ...request, body: { account: 'ada', params: { a: '1', b: [2] } } },
      { ...request, body: { account: 'ada', params: { a: 1, b: [2], confirm: true } } },
      { ...request, body: null },
      { ...request, body: [request.body] },
    ];
    const hashes = new Set([request, ...others].map(requestHash));
    expect(hashes.size).toBe(others.length + 1);
  });

  it('is of JSON that says the same as the value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        // JSON has one zero.
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

/** Kept for ever beside every key (rules 3 and 6): a change here makes a conflict of each old key, and of each key in use while it is deployed. */
describe('the bytes that are hashed are what they always were', () => {
  it.each([
    ['{"b":1,"a":2,"B":3,"":4,"10":5,"9":6}', '{"":4,"10":5,"9":6,"B":3,"a":2,"b":1}'],
    ['{"é":1,"z":2,"😀":3,"ﬀ":4}', '{"z":2,"é":1,"😀":3,"ﬀ":4}'],
    ['[1,[2,{"z":null,"y":[]}], {}]', '[1,[2,{"y":[],"z":null}],{}]'],
    ['1', '1'],
    ['1.0', '1'],
    ['1e3', '1000'],
    ['1e21', '1e+21'],
    ['1e-7', '1e-7'],
    ['-0', '0'],
    ['123456789012345678901', '123456789012345680000'],
    ['null', 'null'],
    ['true', 'true'],
    [String.raw`"\u00fc"`, '"ü"'],
    [String.raw`"u\u0308"`, '"u\u0308"'],
    [String.raw`"\ud83d\ude00"`, '"😀"'],
    [String.raw`"\ud800"`, String.raw`"\ud800"`],
    [String.raw`"\u0000\u001F\t"`, String.raw`"\u0000\u001f\t"`],
    [String.raw`"a\/b\\\""`, String.raw`"a/b\\\""`],
  ])('%s is %s', (sent, hashed) => {
    expect(canonicalJson(JSON.parse(sent))).toBe(hashed);
  });

  const image = { account: 'ada', action: 'image', params: { seconds: 1, resolution: '2K' } };
  const spelled =
    'POST /v1/generations\n{"account":"ada","action":"image","params":{"resolution":"2K","seconds":1}}';
  const note = { note: 'grün 😀', confirm: true, none: null };
  it.each([
    ['POST', '/v1/generations', image, 'c1e831120272a0327f7006c15b0d116324539b63dfd16f021fcb75cbe8b987d9'],
    [
      'POST',
      '/v1/generations',
      { ...image, confirm: true },
      'c1e831120272a0327f7006c15b0d116324539b63dfd16f021fcb75cbe8b987d9',
    ],
    ['POST', '/v1/generations', {}, '4e4cb0829e61b3950d343b745824a7f260c208371274f7229a2d45d4b397ef44'],
    [
      'POST',
      '/v1/holds',
      { account: 'ada', credits: 1.5, metadata: note },
      '29829c72f57294555ec798c7f268b1fa910745643098533d7d422b2701f00be8',
    ],
    [
      'POST',
      '/v1/generations/gen_ada.0/cancel',
      null,
      '4a044d44c4652e0d12d287b599edf125f3cd25533502ecc71978ff4c10ddd823',
    ],
  ])('%s %s with %j', (method, route, body, hash) => {
    expect(requestHash({ method, route, body })).toBe(hash);
  });

  it('is sha256 of method, route, a line feed and that JSON, in UTF-8', () => {
    const hash = createHash('sha256').update(spelled).digest('hex');
    expect(requestHash({ method: 'POST', route: '/v1/generations', body: image })).toBe(hash);
  });
});
