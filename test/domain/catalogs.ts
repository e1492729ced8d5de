import path from 'node:path';
import { readFileSync } from 'node:fs';
import type { Catalog } from '../../domain/catalog/catalog';
import { parseCatalog } from '../../domain/publish/parse';

/** The catalog that ships, and the smallest one that is valid. */

export function imagineart(): Catalog {
  const file = path.join(__dirname, '../../catalogs/imagineart.json');
  return parsed(JSON.parse(readFileSync(file, 'utf8')));
}

export function parsed(json: unknown): Catalog {
  const result = parseCatalog(json);
  if (!result.ok) throw new Error(JSON.stringify(result.errors));
  return result.catalog;
}

export function smallest() {
  return {
    catalog: 'small',
    label: 'Small',
    currency: 'USD',
    buckets: [
      { bucket: 'daily', label: 'Daily', rank: 1, refresh: 'day', amount: 10, onReturn: 'forfeit' },
      { bucket: 'plan', label: 'Plan', rank: 2, refresh: 'month', onReturn: 'grace:PT24H' },
      { bucket: 'pack', label: 'Packs', rank: 3, refresh: null, onReturn: 'reissue' },
    ],
    plans: [
      { plan: 'free', label: 'Free', rank: 0, prices: { month: 0 } },
      { plan: 'one', label: 'One', rank: 1, prices: { month: 10 }, allotments: { plan: 100 } },
      { plan: 'two', label: 'Two', rank: 2, prices: null, allotments: { plan: 1000 } },
    ],
    packs: [{ pack: 'p50', credits: 50, price: 5, currency: 'USD' }],
    actions: [
      {
        action: 'image',
        label: 'Image',
        unit: 'image',
        maxDuration: 'PT10M',
        maxOutputs: 4,
        defaultModel: 'plain',
        models: [
          {
            model: 'plain',
            label: 'Plain',
            options: { resolution: { values: ['1K', '2K'], default: '1K' } },
            rates: [
              { params: { resolution: '1K' }, credits: 2.5 },
              { params: { resolution: '2K' }, credits: 5, minimumPlan: 'two' },
            ],
          },
        ],
      },
      {
        action: 'video',
        label: 'Video',
        unit: 'video',
        maxDuration: 'PT1H',
        minimumPlan: 'one',
        needsConfirmation: true,
        defaultModel: 'clip',
        provider: { type: 'external', deadlineSeconds: 60 },
        models: [
          {
            model: 'clip',
            label: 'Clip',
            tags: ['pro'],
            options: {
              seconds: { values: [4, 8], default: 4 },
              audio: { values: [false, true], default: false },
            },
            rates: [
              { params: { audio: false }, credits: 32, per: 'second' },
              { params: { audio: true, seconds: 8 }, credits: 500, approximate: true },
            ],
          },
        ],
      },
      { action: 'rename', label: 'Rename', unit: 'call', free: true, maxDuration: 'PT1M' },
    ],
    rules: {
      packsFor: 'everyone',
      defaultProvider: { type: 'simulated', delayMs: 5 },
    },
  };
}
