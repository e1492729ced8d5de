import { addPortal } from './portal.mjs';
import { addProducts } from './products.mjs';
import { stripeServer } from './protocol.mjs';

/**
 * A stand-in for Stripe, for development without a key: `node dev/stripe/standIn.mjs [port]` prints its address. It has what Holdfast
 * uses and no more, takes test keys only, and forgets everything when it ends.
 */

const account = { products: new Map(), prices: new Map(), configurations: new Map() };
const app = stripeServer((routes) => {
  addProducts(routes, account);
  addPortal(routes, account);
});

const server = app.listen(Number(process.argv[2] ?? 0), '127.0.0.1', (error) => {
  if (error) throw error;
  console.log(`http://127.0.0.1:${server.address().port}`);
});
process.once('SIGTERM', () => server.close(() => process.exit(0)));
