import { type Action, type Assertion, actionOf, type Catalog, packOf, planOf } from '../catalog/catalog';
import type { Path, Report } from './faults';
import {
  MAX_OPERATION_MILLI,
  MILLI_PER_CREDIT,
  type MilliCredits,
  milli,
  toCredits,
  toMilli,
} from '../credits';
import { type Offer, offersOf } from '../prices/offers';

/** What only the prices can say: that each can be ordered, and that what the catalog asserts of them is so. Pure. */

export function checkAssertions(catalog: Catalog, report: Report): void {
  const offers = new Map(catalog.actions.map((action) => [action.action, offersOf({ catalog, action })]));
  catalog.actions.forEach((action, n) => {
    if (action.pipeline !== undefined)
      checkPipelinePrices({ action, offers: offers.get(action.action) ?? [], path: ['actions', n], report });
  });
  const prices: Prices = { catalog, offers };
  catalog.assertions.forEach((assertion, n) => {
    const problem = problemOf(assertion, prices);
    if (problem === null) return;
    const place = problem.field === undefined ? [] : problem.field.split('.');
    report(['assertions', n, ...place], `“${assertion.says}” ${problem.message}`);
  });
}

function checkPipelinePrices(options: { action: Action; offers: Offer[]; path: Path; report: Report }): void {
  const { action, offers, path, report } = options;
  const all = Object.entries(action.pipeline?.options ?? {});
  const isDefault = ({ params }: Offer) => all.every(([name, option]) => params[name] === option.default);
  if (!offers.some(isDefault))
    report([...path, 'pipeline'], 'the default options must have a price in every phase');
  if (offers.some(({ priced }) => priced.ceilingMilli > MAX_OPERATION_MILLI))
    report([...path, 'pipeline'], 'the dearest order must cost at most 1,000,000,000 credits');
}

interface Prices {
  catalog: Catalog;
  offers: ReadonlyMap<string, Offer[]>;
}

interface Problem {
  message: string;
  /** Where in the assertion, when it is not the prices that are wrong. */
  field?: string;
}

type Selector = { action: string; model?: string | undefined; params: Record<string, unknown> };

function problemOf(assertion: Assertion, prices: Prices): Problem | null {
  switch (assertion.assert) {
    case 'less':
      return lessProblem(assertion, prices);
    case 'ratio':
      return ratioProblem(assertion, prices);
    case 'dearest':
      return dearestProblem(assertion, prices);
    case 'within':
      return withinProblem(assertion, prices);
    case 'sum':
      return sumProblem(assertion, prices);
    default:
      return buysProblem(assertion, prices);
  }
}

type Is<K extends Assertion['assert']> = Extract<Assertion, { assert: K }>;

function lessProblem({ left, right, sameModel }: Is<'less'>, prices: Prices): Problem | null {
  const [small, large] = [select(prices, left), select(prices, right)];
  const nothing = selectsNothing({ left: small, right: large });
  if (nothing !== null) return nothing;
  const pairs = small.flatMap((one) =>
    large.filter((other) => !sameModel || one.model === other.model).map((other) => [one, other] as const),
  );
  if (pairs.length === 0)
    return { message: 'compares models that no action of it shares; correct the models' };
  const wrong = pairs.find(([one, other]) => one.priced.creditsMilli >= other.priced.creditsMilli);
  return wrong === undefined ? null : fails(`${shown(wrong[0])} is not less than ${shown(wrong[1])}`);
}

/** Compares what differs in the selected options only: 2K with 1K of the same model, seconds and audio. */
function ratioProblem({ of, to, atLeast, atMost }: Is<'ratio'>, prices: Prices): Problem | null {
  const [above, below] = [select(prices, of), select(prices, to)];
  const nothing = selectsNothing({ of: above, to: below });
  if (nothing !== null) return nothing;
  const named = new Set([...Object.keys(of.params), ...Object.keys(to.params)]);
  const modelsNamed = of.model !== undefined && to.model !== undefined;
  const rest = ({ model, params }: Offer) =>
    JSON.stringify([modelsNamed || model, Object.entries(params).filter(([name]) => !named.has(name))]);
  const pairs = above.flatMap((one) =>
    below.filter((other) => rest(one) === rest(other)).map((other) => [one, other] as const),
  );
  if (pairs.length === 0) return { message: 'selects no two prices that differ in nothing else' };
  const wrong = pairs.find(([one, other]) => {
    const [price, base] = [BigInt(one.priced.creditsMilli) * 1000n, BigInt(other.priced.creditsMilli)];
    return price < base * BigInt(toMilli(atLeast)) || price > base * BigInt(toMilli(atMost));
  });
  if (wrong === undefined) return null;
  return fails(`${shown(wrong[0])} is not ${atLeast} to ${atMost} times ${shown(wrong[1])}`);
}

function dearestProblem({ of }: Is<'dearest'>, prices: Prices): Problem | null {
  const chosen = select(prices, of);
  const nothing = selectsNothing({ of: chosen });
  if (nothing !== null) return nothing;
  const dearest = Math.max(...chosen.map(({ priced }) => priced.creditsMilli));
  const others = [...prices.offers.values()].flat().filter((one) => !chosen.includes(one));
  const rival = others.find(({ priced }) => priced.creditsMilli >= dearest);
  return rival === undefined
    ? null
    : fails(`${shown(rival)} costs as much as the dearest of them, ${toCredits(milli(dearest))}`);
}

function withinProblem({ of, atLeast, atMost }: Is<'within'>, prices: Prices): Problem | null {
  const chosen = select(prices, of);
  const nothing = selectsNothing({ of: chosen });
  if (nothing !== null) return nothing;
  const wrong = chosen.find(
    ({ priced: { creditsMilli } }) => creditsMilli < toMilli(atLeast) || creditsMilli > toMilli(atMost),
  );
  return wrong === undefined ? null : fails(`${shown(wrong)} is not from ${atLeast} to ${atMost}`);
}

function sumProblem({ of, parts }: Is<'sum'>, prices: Prices): Problem | null {
  let total = 0;
  for (const [n, part] of parts.entries()) {
    const one = 'action' in part ? onePrice(prices, part) : toMilli(part.credits);
    if (one === null) return { field: `parts.${n}`, message: 'must select one price; name model and params' };
    total += one;
  }
  const whole = onePrice(prices, of);
  if (whole === null) return { field: 'of', message: 'must select one price; name model and params' };
  if (whole === total) return null;
  return fails(`the parts make ${toCredits(milli(total))}, and the whole is ${toCredits(whole)}`);
}

/** How many of it a plan's month or a pack pays for, at what must be there before it starts. */
function buysProblem({ from, of, atLeast, atMost }: Is<'buys'>, { catalog, offers }: Prices): Problem | null {
  const credits = 'pack' in from ? packOf(catalog, from.pack)?.credits : monthOf(catalog, from.plan);
  if (credits === undefined) {
    const what = 'pack' in from ? `pack ${from.pack}` : `plan ${from.plan}`;
    return { field: 'from', message: `names the ${what}, which is not there` };
  }
  const chosen = select({ catalog, offers }, of);
  const nothing = selectsNothing({ of: chosen });
  if (nothing !== null) return nothing;
  const count = ({ priced }: Offer) =>
    priced.ceilingMilli === 0 ? Number.POSITIVE_INFINITY : Math.floor(toMilli(credits) / priced.ceilingMilli);
  const wrong = chosen.find((one) => count(one) < atLeast || count(one) > atMost);
  if (wrong === undefined) return null;
  return fails(`${credits} credits pay for ${count(wrong)} of ${nameOf(wrong)}, not ${atLeast} to ${atMost}`);
}

function monthOf(catalog: Catalog, planId: string): number | undefined {
  const plan = planOf(catalog, planId);
  if (plan === undefined) return undefined;
  const monthly = catalog.buckets.filter(({ refresh }) => refresh === 'month');
  const total = monthly.reduce(
    (sum, { bucket, amount }) => sum + toMilli(plan.allotments[bucket] ?? amount ?? 0),
    0,
  );
  return total / MILLI_PER_CREDIT;
}

function select({ offers }: Prices, { action, model, params }: Selector): Offer[] {
  const all = offers.get(action) ?? [];
  return all.filter(
    (one) =>
      (model === undefined || one.model === model) &&
      Object.entries(params).every(([name, value]) => one.params[name] === value),
  );
}

/** Left-out options of a pipeline or a model mean its defaults here: a sum has one value. */
function onePrice(prices: Prices, selector: Selector): MilliCredits | null {
  const action = actionOf(prices.catalog, selector.action);
  const model = action?.models.find((one) => one.model === (selector.model ?? action.defaultModel));
  const options = Object.entries(model?.options ?? action?.pipeline?.options ?? {});
  const defaults = Object.fromEntries(options.map(([name, option]) => [name, option.default]));
  const exact = { ...selector, params: { ...defaults, ...selector.params } };
  const chosen = select(prices, model === undefined ? exact : { ...exact, model: model.model });
  const [one] = chosen;
  return one === undefined || chosen.length > 1 ? null : one.priced.creditsMilli;
}

function selectsNothing(fields: Record<string, Offer[]>): Problem | null {
  const empty = Object.keys(fields).find((name) => fields[name]?.length === 0);
  if (empty === undefined) return null;
  return { field: empty, message: 'selects no price; name an action, model and options that have one' };
}

function fails(why: string): Problem {
  return { message: `does not hold: ${why}; correct the rates, or the assertion` };
}

function shown(one: Offer): string {
  return `${nameOf(one)} at ${toCredits(one.priced.creditsMilli)}`;
}

function nameOf({ action, model, params }: Offer): string {
  const options = Object.entries(params).map(([name, value]) => `${name} ${value}`);
  return [action, model, ...options].filter((part) => part !== null).join(' ');
}
