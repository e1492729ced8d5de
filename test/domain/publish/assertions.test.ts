import { parseCatalog } from '../../../domain/publish/parse';
import { smallest } from '../catalogs';

/** The smallest catalog with one assertion: image 2.5 (1K) and 5 (2K), video 128 to 500. */
function errorsOf(assertion: Record<string, unknown>, change: Record<string, unknown> = {}): string[] {
  const result = parseCatalog({ ...smallest(), ...change, assertions: [{ says: 'So it is', ...assertion }] });
  return result.ok ? [] : result.errors.map(({ path, message }) => `${path}: ${message}`);
}

const image = (resolution: string) => ({ action: 'image', params: { resolution } });
const video = { action: 'video' };

describe('an assertion that holds is silent', () => {
  it.each<[string, Record<string, unknown>]>([
    ['less', { assert: 'less', left: { action: 'image' }, right: video }],
    ['less, model by model', { assert: 'less', left: image('1K'), right: image('2K'), sameModel: true }],
    ['ratio', { assert: 'ratio', of: image('2K'), to: image('1K'), atLeast: 2, atMost: 2 }],
    [
      'ratio, of two models that are both named',
      {
        assert: 'ratio',
        of: { action: 'video', model: 'clip', params: { seconds: 4, audio: false } },
        to: { action: 'image', model: 'plain', params: { resolution: '2K' } },
        atLeast: 25.6,
        atMost: 25.6,
      },
    ],
    ['dearest', { assert: 'dearest', of: { action: 'video', params: { audio: true } } }],
    ['within', { assert: 'within', of: { action: 'image' }, atLeast: 2.5, atMost: 5 }],
    ['sum', { assert: 'sum', of: image('2K'), parts: [{ action: 'image' }, { credits: 2.5 }] }],
    ['buys, by a plan', { assert: 'buys', from: { plan: 'one' }, of: image('1K'), atLeast: 40, atMost: 40 }],
    ['buys, by a pack', { assert: 'buys', from: { pack: 'p50' }, of: image('2K'), atLeast: 10, atMost: 10 }],
  ])('%s', (_, assertion) => {
    expect(errorsOf(assertion)).toEqual([]);
  });
});

describe('an assertion that does not hold keeps the catalog out, and says which price is wrong', () => {
  it.each<[string, Record<string, unknown>, string]>([
    [
      'less, also when the two are equal',
      { assert: 'less', left: image('2K'), right: image('2K') },
      'image plain resolution 2K at 5 is not less than image plain resolution 2K at 5',
    ],
    [
      'a ratio too small',
      { assert: 'ratio', of: image('2K'), to: image('1K'), atLeast: 2.001, atMost: 3 },
      'image plain resolution 2K at 5 is not 2.001 to 3 times image plain resolution 1K at 2.5',
    ],
    [
      'a ratio too large',
      { assert: 'ratio', of: image('2K'), to: image('1K'), atLeast: 1, atMost: 1.999 },
      'is not 1 to 1.999 times',
    ],
    ['dearest', { assert: 'dearest', of: image('2K') }, 'costs as much as the dearest of them, 5'],
    [
      'dearest, where another is just as dear',
      { assert: 'dearest', of: { action: 'video', params: { seconds: 4, audio: false } } },
      'video clip seconds 8 audio false at 256',
    ],
    [
      'within, from below',
      { assert: 'within', of: { action: 'image' }, atLeast: 2.501, atMost: 5 },
      'image plain resolution 1K at 2.5 is not from 2.501 to 5',
    ],
    [
      'within, from above',
      { assert: 'within', of: { action: 'image' }, atLeast: 1, atMost: 4.999 },
      'image plain resolution 2K at 5 is not from 1 to 4.999',
    ],
    [
      'a sum',
      { assert: 'sum', of: image('2K'), parts: [{ action: 'image' }, { credits: 2 }] },
      'the parts make 4.5, and the whole is 5',
    ],
    [
      'what a plan buys',
      { assert: 'buys', from: { plan: 'one' }, of: image('1K'), atLeast: 41, atMost: 50 },
      '100 credits pay for 40 of image plain resolution 1K, not 41 to 50',
    ],
    [
      'what a pack buys',
      { assert: 'buys', from: { pack: 'p50' }, of: image('1K'), atLeast: 1, atMost: 19 },
      '50 credits pay for 20 of image plain resolution 1K, not 1 to 19',
    ],
  ])('%s', (_, assertion, why) => {
    const [error, ...others] = errorsOf(assertion);
    expect(others).toEqual([]);
    expect(error).toContain('assertions.0: “So it is” does not hold: ');
    expect(error).toContain(why);
    expect(error).toContain('correct the rates, or the assertion');
  });
});

describe('an assertion about nothing is an error at its place', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['no such action', { assert: 'less', left: { action: 'song' }, right: video }, 'assertions.0.left: '],
    ['no such model', { assert: 'dearest', of: { action: 'image', model: 'x' } }, 'assertions.0.of: '],
    [
      'no such option',
      { assert: 'within', of: image('8K'), atLeast: 0, atMost: 9 },
      'assertions.0.of: “So it is” selects no price',
    ],
    [
      'no pair',
      { assert: 'ratio', of: video, to: { action: 'image' }, atLeast: 1, atMost: 9 },
      'assertions.0: “So it is” selects no two prices that differ in nothing else',
    ],
    [
      'no model in common',
      { assert: 'less', left: { action: 'image' }, right: video, sameModel: true },
      'assertions.0: “So it is” compares models that no action of it shares',
    ],
    [
      'a sum of nothing',
      { assert: 'sum', of: { action: 'song' }, parts: [{ credits: 1 }] },
      'assertions.0.of: ',
    ],
    [
      'a part that is not there',
      { assert: 'sum', of: { action: 'image' }, parts: [{ credits: 1 }, { action: 'song' }] },
      'assertions.0.parts.1: ',
    ],
    [
      'no such plan',
      { assert: 'buys', from: { plan: 'ten' }, of: { action: 'image' }, atLeast: 0, atMost: 9 },
      'assertions.0.from: “So it is” names the plan ten, which is not there',
    ],
  ])('%s', (_, assertion, error) => {
    expect(errorsOf(assertion)).toEqual([expect.stringContaining(error)]);
  });

  it('and is not looked at while a name leads nowhere or a field is wrong', () => {
    const wrong = { assert: 'dearest', of: { action: 'image' } };
    expect(errorsOf(wrong, { packs: [{ pack: 'p', credits: 0.0001, price: 1, currency: 'USD' }] })).toEqual([
      'packs.0.credits: must have at most three decimals',
    ]);
    const [image, , rename] = smallest().actions;
    expect(errorsOf(wrong, { actions: [{ ...image, minimumPlan: 'ten' }, rename] })).toEqual([
      'actions.0.minimumPlan: there is no plan ten; use one of: free, one, two',
    ]);
  });
});
