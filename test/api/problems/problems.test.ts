import { refusalFacts } from '../../../api/problems/common';
import { PROBLEMS, type ProblemCode } from '../../../api/problems/kinds';
import { problemDocument, problemKind } from '../../../api/problems/problem';
import { REFUSALS, type RefusalCode } from '../../../domain/refusals';

const codes = Object.keys(PROBLEMS) as ProblemCode[];

test('a document has the members of RFC 9457 and ours, and its extensions beside them', () => {
  const document = problemDocument('insufficient_credits', {
    detail: 'It costs 24 and 10 are there.',
    instance: 'urn:holdfast:request:1',
    extensions: { required: 24, available: 10, shortfall: 14 },
  });
  expect(document).toEqual({
    type: '/docs/problems#insufficient_credits',
    title: 'Not enough credits',
    status: 402,
    detail: 'It costs 24 and 10 are there.',
    instance: 'urn:holdfast:request:1',
    code: 'insufficient_credits',
    retryable: false,
    required: 24,
    available: 10,
    shortfall: 14,
  });
});

test('a refusal that used its key up tells the caller to take a new one, the others do not', () => {
  for (const code of Object.keys(REFUSALS) as RefusalCode[]) {
    const { extensions } = refusalFacts({ code, detail: 'No.', facts: { shown: true } });
    expect(extensions).toEqual({ shown: true, ...(REFUSALS[code].kept ? { retryWithNewKey: true } : {}) });
  }
});

test('a refusal of one field names the field', () => {
  const facts = refusalFacts({
    code: 'unknown_option',
    detail: 'There is no 8K.',
    path: 'params.resolution',
  });
  expect(facts.errors).toEqual([{ path: 'params.resolution', message: 'There is no 8K.' }]);
});

test.each(codes)('%s says when to try again exactly if trying again on its own can help', (code) => {
  const { status, retryable, retryAfterSeconds } = problemKind(code);
  expect(status).toBeGreaterThanOrEqual(400);
  // What is kept for its key is answered again for ever, so only a new key can help (rule 2).
  const kept = Object.entries(REFUSALS).some(([refusal, { kept: always }]) => refusal === code && always);
  expect(retryable).toBe(!kept && (status === 429 || status >= 500));
  expect(retryAfterSeconds !== undefined).toBe(!kept && (status === 429 || status === 503));
});
