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
