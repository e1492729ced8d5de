import { estimate } from '../../../domain/access/estimates';
import { product } from '../product';

/** Intangible, “Resolution and cost”, sentence by sentence, as far as it speaks of credits. */

const intangible = product('intangible');
const { catalog, credits, offers, refusal } = intangible;
const models = ['nano-banana', 'nano-banana-pro', 'flux-2'];
const image = (model: string, resolution: string) => credits('image', { model, resolution });

test('Image generation runs at 1K or 2K.', () => {
  expect(new Set(offers('image').map(({ params }) => params['resolution']))).toEqual(new Set(['1K', '2K']));
  expect(refusal('image', { resolution: '4K' })).toEqual({
    code: 'unknown_option',
    path: 'params.resolution',
    detail: 'resolution must be one of 1K, 2K.',
  });
});

test('Video generation has its own resolution options that vary by model.', () => {
  const offered = (model: string) => [
    ...new Set(offers('video').flatMap((one) => (one.model === model ? [one.params['resolution']] : []))),
  ];
  expect(offered('veo-3.1')).toEqual(['1K', '2K']);
  expect(offered('kling-3-pro')).toEqual(['720p', '1080p']);
  expect(offered('luma-ray-3.14')).toEqual(['540p', '720p', '1080p']);
});

test('A 2K image render is roughly 2x the cost of a 1K render on the same model.', () => {
  for (const model of models) {
    const ratio = image(model, '2K') / image(model, '1K');
    expect(ratio > 1.75 && ratio < 2.25).toBe(true);
  }
});

test('The exact ratio varies by model provider.', () => {
  expect(new Set(models.map((model) => image(model, '2K') / image(model, '1K'))).size).toBe(3);
});

test('Higher resolution = more pixels = more compute = more cost.', () => {
  for (const model of models) expect(image(model, '2K')).toBeGreaterThan(image(model, '1K'));
  const clip = (resolution: string) => credits('video', { model: 'luma-ray-3.14', resolution });
  expect(clip('720p')).toBeGreaterThan(clip('540p'));
  expect(clip('1080p')).toBeGreaterThan(clip('720p'));
});

test('There’s no live cost preview; the price can be asked for all the same.', () => {
  expect(catalog.rules.showPrices).toBe(false);
  expect(credits('image')).toBe(10);
});

test('Three Nano-vs-Flux comparisons at 1K cost less than one at 2K: advice, true of each render and of no three pairs.', () => {
  const compared = (resolution: string) => image('nano-banana', resolution) + image('flux-2', resolution);
  expect(compared('1K')).toBeLessThan(compared('2K'));
  // At about twice the price, three pairs at 1K cannot cost less than one at 2K, and no rate is bent to it.
  expect(3 * compared('1K')).toBeGreaterThan(compared('2K'));
});

test('The visualizer surfaces only the options that model supports.', () => {
  expect(refusal('video', { model: 'runway-gen-4.5', resolution: '2K' }).detail).toBe(
    'resolution must be one of 720p.',
  );
  expect(refusal('video', { model: 'runway-gen-4.5', audio: true }).detail).toContain(
    'has no option "audio"; it has resolution, seconds, outputs',
  );
});

test('Audio toggle is independent of resolution and adds cost on top.', () => {
  for (const resolution of ['1K', '2K'])
    expect(credits('video', { resolution, audio: true })).toBeGreaterThan(
      credits('video', { resolution, audio: false }),
    );
});

test('If you don’t need audio, leave it off – audio generation can roughly double a video render’s cost.', () => {
  expect(credits('video')).toBe(credits('video', { audio: false }));
  expect(credits('video', { audio: true })).toBe(2 * credits('video', { audio: false }));
  const kling = (audio: boolean) => credits('video', { model: 'kling-3-pro', audio });
  expect(kling(true) / kling(false)).toBe(1.75);
});

test('The credit budget for a typical commercial-shot project: roughly 70% on 1K iteration, 25% on 2K final renders, 5% on edit-image fixes.', () => {
  const result = estimate({
    catalog,
    bufferPercent: [20, 30],
    items: [
      { action: 'image', params: { resolution: '1K' }, times: { perMonth: 28 } },
      { action: 'image', params: { resolution: '2K' }, times: { perMonth: 5 } },
      { action: 'image-edit', times: { perMonth: 3 } },
    ],
  });
  if (!result.ok) throw new Error('there is no estimate');
  const { lines, subtotal } = result.estimate;
  expect(subtotal).toBe(398);
  expect(lines.map((line) => Math.round((20 * line.credits) / subtotal) * 5)).toEqual([70, 25, 5]);
});

test('A 2K render on one model can cost more than a 2K render on another.', () => {
  expect(models.map((model) => image(model, '2K'))).toEqual([20, 27, 17]);
});
