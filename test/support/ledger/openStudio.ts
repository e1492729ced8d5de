import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { canonicalJson } from '../../../domain/ids';
import type { TestDatabase } from '../database';

/** A catalog whose rates come to nothing, as it lies in databases from before publishing looked at that (rule 33). */

export const OPEN_STUDIO = 'open-studio';

const EXPLORE = {
  action: 'explore',
  label: 'Explore',
  unit: 'image',
  maxDuration: 'PT10M',
  maxOutputs: 4,
  quotas: ['explores'],
  defaultModel: 'relaxed',
  models: [
    { model: 'relaxed', label: 'Relaxed', rates: [{ credits: 0, illustrative: true }] },
    {
      model: 'relaxed-pro',
      label: 'Relaxed Pro',
      minimumPlan: 'standard',
      rates: [{ credits: 0, illustrative: true }],
    },
  ],
};

/** 30 credits are held; the frames of the film cost nothing. */
const FILM = {
  action: 'film',
  label: 'Film',
  unit: 'film',
  maxDuration: 'PT30M',
  provider: { type: 'external', deadlineSeconds: 600 },
  pipeline: {
    phases: [
      { phase: 'shots', label: 'Shots', credits: 20, illustrative: true },
      { phase: 'frames', label: 'Frames', credits: 0, illustrative: true },
      { phase: 'cut', label: 'Cut', credits: 10, illustrative: true },
    ],
  },
};

const SLIDES = {
  action: 'slides',
  label: 'Slides',
  unit: 'show',
  maxDuration: 'PT30M',
  quotas: ['explores'],
  provider: { type: 'external', deadlineSeconds: 600 },
  pipeline: {
    phases: [
      { phase: 'frames', label: 'Frames', credits: 0, illustrative: true },
      { phase: 'order', label: 'Order', credits: 0, illustrative: true },
    ],
  },
};

/** Stores it past publishing. `free` and `basic` have two explores a day, `standard` any number. */
export async function storeOpenStudio({ owner }: TestDatabase): Promise<void> {
  const file = path.join(__dirname, '..', 'catalogs', 'working-day.json');
  const base = JSON.parse(readFileSync(file, 'utf8')) as WorkingDay;
  const body = {
    ...base,
    catalog: OPEN_STUDIO,
    quotas: [{ quota: 'explores', label: 'Explores', period: 'day', illustrative: true }],
    plans: base.plans.map((plan) => ({
      ...plan,
      ...(['free', 'basic'].includes(plan.plan) ? { quotas: { explores: 2 } } : {}),
    })),
    actions: [...base.actions, EXPLORE, FILM, SLIDES],
  };
  await owner.knex('holdfast.catalogs').insert({
    catalog: OPEN_STUDIO,
    version: 1,
    body: JSON.stringify(body),
    hash: createHash('sha256').update(canonicalJson(body)).digest('hex'),
    effective_at: '-infinity',
  });
}

interface WorkingDay {
  plans: { plan: string }[];
  actions: object[];
}
