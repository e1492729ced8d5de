import * as fc from 'fast-check';
import { excerptOf, reportProblem } from '../../../domain/generations/reports';
import { isStorable, storable } from '../../../domain/text';
import { completion, failed } from '../../../api/resources/generations/schemas';

const complete = { kind: 'complete', id: 'r1', outputs: [{ url: 'https://cdn.test/a' }], final: true };
const phase = { ...complete, final: false, phase: 'layout', creditsMilli: 12_000 };
const fail = { kind: 'fail', id: 'r2', code: 'oom', message: 'out of memory' };

describe('a report', () => {
  test.each([
    complete,
    phase,
    fail,
    { ...complete, outputs: [] },
    { ...complete, outputs: [{}] },
    { ...complete, creditsMilli: 0 },
    { ...complete, providerCost: { amount: 0.04, currency: 'USD' } },
    { ...fail, message: '' },
    { ...complete, fieldOfALaterVersion: true },
  ])('%j can be acted upon', (report) => {
    expect(reportProblem(report)).toBeNull();
  });

  test.each([
    ['of no form', undefined],
    ['of no form', [complete]],
    ['without an id', { ...complete, id: undefined }],
    ['with an id that nothing could keep', { ...complete, id: 'a\0b' }],
    ['with an id that is too long', { ...complete, id: 'r'.repeat(256) }],
    ['of no kind', { ...complete, kind: 'done' }],
    ['that does not say whether it is final', { ...complete, final: undefined }],
    ['of a part that names no phase', { ...phase, phase: undefined }],
    ['of a phase that names no credits', { ...phase, creditsMilli: undefined }],
    ['with a phase that is too long', { ...phase, phase: 'p'.repeat(65) }],
    ['with a phase that nothing could keep', { ...phase, phase: 'a\0' }],
    ['with less than no credits', { ...complete, creditsMilli: -1 }],
    ['with a part of a millicredit', { ...complete, creditsMilli: 0.5 }],
    ['with credits beyond every limit', { ...complete, creditsMilli: 1e12 + 1 }],
    ['without outputs', { ...complete, outputs: undefined }],
    ['with an output that is none', { ...complete, outputs: [null] }],
    ['with a url that is too long', { ...complete, outputs: [{ url: 'u'.repeat(2049) }] }],
    ['with a url that nothing could keep', { ...complete, outputs: [{ url: 'https://a/\0' }] }],
    ['with more outputs than there may be', { ...complete, outputs: Array(1001).fill({}) }],
    ['with a cost in no currency', { ...complete, providerCost: { amount: 1, currency: 'dollars' } }],
    ['of a failure without a code', { ...fail, code: '' }],
    ['of a failure with a code that nothing could keep', { ...fail, code: '\uD800' }],
    ['of a failure with a message that is too long', { ...fail, message: 'm'.repeat(2001) }],
  ])('%s is none', (_what, report) => {
    expect(reportProblem(report)).toMatch(/\.$/);
  });

  test('over HTTP and by Temporal is held to the same limits', () => {
    const around = (limit: number) => fc.integer({ min: limit - 1, max: limit + 1 });
    const text = (limit: number) => around(limit).map((length) => 'x'.repeat(length));
    const reports = fc.oneof(
      fc
        .record({ code: text(64), message: text(2000) })
        .map((body) => [{ ...body, id: 'r', kind: 'fail' }, failed.safeParse(body).success] as const),
      fc
        .record(
          {
            outputs: fc.array(fc.record({ url: text(2048) }, { requiredKeys: [] }), { maxLength: 2 }),
            final: fc.boolean(),
            phase: text(64),
            credits: fc.integer({ min: 1, max: 5 }),
          },
          { requiredKeys: ['outputs', 'final'] },
        )
        .map((body) => {
          const { credits, ...rest } = body;
          const cost = credits === undefined ? {} : { creditsMilli: credits * 1000 };
          const accepted = completion.safeParse(body).success;
          return [{ ...rest, ...cost, id: 'r', kind: 'complete' }, accepted] as const;
        }),
    );
    fc.assert(
      fc.property(reports, ([report, accepted]) => {
        expect(reportProblem(report) === null).toBe(accepted);
      }),
    );
  });
});

describe('what cannot be kept', () => {
  test('is shown as text that can be, cut to size, whatever it was', () => {
    fc.assert(
      fc.property(fc.anything({ withObjectString: true }), (said) => {
        const text = excerptOf(JSON.parse(JSON.stringify(said) ?? 'null'));
        expect(isStorable(text) && text.length <= 4000).toBe(true);
      }),
    );
    let deep: unknown = 0;
    for (let level = 0; level < 20_000; level += 1) deep = [deep];
    expect(excerptOf(deep)).toBe('nested too deeply to be shown');
  });

  test('is replaced within a text, and what is too long is cut', () => {
    expect(storable('a\0b\uD800c', 10)).toBe('a\uFFFDb\uFFFDc');
    expect(storable('a😀', 2)).toBe('a\uFFFD');
  });
});
