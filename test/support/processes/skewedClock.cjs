/** Loaded before a process's own code (`node --require`): its clock is off by so much, as an unsynchronised host's is. */

const skewMs = Number(process.env.HOLDFAST_TEST_SKEW_MS);
const Real = Date;

globalThis.Date = new Proxy(Real, {
  construct: (target, values, made) =>
    Reflect.construct(target, values.length === 0 ? [Real.now() + skewMs] : values, made),
  get: (target, name) => (name === 'now' ? () => Real.now() + skewMs : Reflect.get(target, name)),
});
