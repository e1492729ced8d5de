import { readdirSync } from 'node:fs';
import path from 'node:path';
import { readCatalog } from '../../db/catalogs/catalogs';
import type { Catalog } from '../../domain/catalog/catalog';
import { readProduct } from './product';

const FOLDER = path.join(__dirname, '../../catalogs');
const files = readdirSync(FOLDER).toSorted();

/** The ids that clients are written against. */
const IDS = {
  intangible: {
    plans: 'free explorer business enterprise',
    actions:
      'image image-edit video composer 3d-asset switch-mode add-library-asset move-object rename environment-edit read-auto-prompt',
  },
  imagineart: {
    plans: 'free basic standard ultimate creator teams-scale enterprise',
    actions: 'image video prompt-enhancement',
  },
  'imagineart-legacy': {
    plans: 'free basic standard ultimate creator teams-scale enterprise',
    actions: 'image video prompt-enhancement',
  },
  draftly: {
    plans: 'free basic basic-plus pro premium',
    actions:
      'image image-edit upscale background-removal video video-extend chat-edit prompt-enhancement brainstorm business-os-chat site site-regeneration inline-text-edit design-preset browse republish settings download frame-extraction',
  },
};

interface Origin {
  source?: string | undefined;
  asOf?: string | undefined;
  illustrative?: boolean | undefined;
}

interface Fact extends Origin {
  facts?: Record<string, Origin> | undefined;
}

/** Every number of a catalog with the objects that may say where it comes from, the nearest first. */
function numbers({
  buckets,
  plans,
  packs,
  actions,
}: Catalog): { what: string; name: string; origins: Fact[] }[] {
  return [
    ...buckets.flatMap((one) =>
      one.amount === undefined ? [] : [{ what: one.bucket, name: 'amount', origins: [one] }],
    ),
    ...plans.flatMap((one) => [
      { what: one.plan, name: 'prices', origins: [one] },
      { what: one.plan, name: 'seats', origins: [one] },
      ...Object.keys(one.allotments).map((name) => ({
        what: one.plan,
        name: `allotments.${name}`,
        origins: [one],
      })),
      ...Object.keys(one.quotas).map((name) => ({ what: one.plan, name: `quotas.${name}`, origins: [one] })),
    ]),
    ...packs.flatMap((one) => ['credits', 'price'].map((name) => ({ what: one.pack, name, origins: [one] }))),
    ...actions.flatMap((action) => [
      ...(action.maxOutputs > 1 ? [{ what: action.action, name: 'maxOutputs', origins: [action] }] : []),
      ...action.models.flatMap((model) => [
        ...(Object.keys(model.options).length > 0
          ? [{ what: `${action.action} ${model.model}`, name: 'options', origins: [model, action] }]
          : []),
        ...model.rates.map((rate) => ({
          what: `${action.action} ${model.model} ${JSON.stringify(rate.params)}`,
          name: 'credits',
          origins: [rate, model, action],
        })),
      ]),
      ...(action.pipeline === undefined
        ? []
        : [
            { what: action.action, name: 'holdAtLeast', origins: [action.pipeline] },
            ...action.pipeline.phases.map((phase) => ({
              what: phase.phase,
              name: 'credits',
              origins: [phase],
            })),
          ]),
    ]),
  ];
}

function originOf({ name, origins }: { name: string; origins: Fact[] }): Origin | undefined {
  const [field = ''] = name.split('.');
  const told = origins.flatMap((one) => [one.facts?.[name], one.facts?.[field], one]);
  return told.find((one) => one?.source !== undefined || one?.illustrative === true);
}

describe('catalogs/', () => {
  it('has the four products; whatever else is put there is a catalog of the name of its file', () => {
    expect(files).toEqual(expect.arrayContaining(Object.keys(IDS).map((id) => `${id}.json`)));
    const ids = files.map((name) => readCatalog(path.join(FOLDER, name)).catalog);
    expect(ids.map((id) => `${id}.json`)).toEqual(files);
  });

  it.each(Object.entries(IDS))('%s has the plans and actions that clients know', (id, { plans, actions }) => {
    const catalog = readProduct(id);
    expect(catalog.catalog).toBe(id);
    expect(catalog.plans.map((one) => one.plan).join(' ')).toBe(plans);
    expect(catalog.actions.map((one) => one.action)).toEqual(actions.split(' '));
    expect(catalog.buckets.every(({ bucket }) => ['daily', 'plan', 'pack', 'promo'].includes(bucket))).toBe(
      true,
    );
  });

  it.each(Object.keys(IDS))(
    '%s says of every number where and when it was read, or that it is invented',
    (id) => {
      const all = numbers(readProduct(id));
      expect(all.length).toBeGreaterThan(40);
      const untold = all.filter((one) => {
        const origin = originOf(one);
        return origin === undefined || (origin.illustrative !== true && origin.asOf === undefined);
      });
      expect(untold.map(({ what, name }) => `${what}: ${name}`)).toEqual([]);
    },
  );

  it('marks every credit price of Intangible as invented, and no rate that ImagineArt or Draftly publish', () => {
    const invented = (id: string) =>
      readProduct(id).actions.flatMap(({ action, models }) =>
        models.flatMap((model) =>
          model.rates.map(({ illustrative }) => [action, illustrative === true] as const),
        ),
      );
    expect(invented('intangible').every(([, yes]) => yes)).toBe(true);
    expect(invented('draftly').some(([, yes]) => yes)).toBe(false);
    const images = invented('imagineart').filter(([action]) => action === 'image');
    expect(images.filter(([, yes]) => !yes)).toHaveLength(25); // 19 models at one price, two at three
  });
});
