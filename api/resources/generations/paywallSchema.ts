import { z } from 'zod';
import { creditsOut, instantOut } from '../../routing/schemas';

/** What can be done where an order is refused for what the account has, or may: in quotes, and in the problems 402, 403 and 429. */
export const paywall = z
  .object({
    ways: z
      .array(z.enum(['buy_pack', 'upgrade', 'wait', 'ask_owner']))
      .describe('Those that help, in the order they are shown'),
    required: creditsOut,
    available: creditsOut.describe('What the account can spend on this'),
    shortfall: creditsOut,
    requiredPlan: z
      .string()
      .nullable()
      .describe('The smallest plan that includes it, where the plan does not'),
    packs: z.array(
      z.object({
        pack: z.string(),
        credits: creditsOut,
        price: z.number(),
        currency: z.string(),
        covers: z.boolean().describe('One of it is enough'),
      }),
    ),
    plans: z
      .array(z.object({ plan: z.string(), credits: creditsOut, price: z.number().nullable() }))
      .describe('Higher plans that would do, with what they give and cost in a month'),
    nextRefreshAt: instantOut.nullable(),
    waitSuffices: z.boolean().describe('What comes by then is enough'),
  })
  .meta({ id: 'Paywall' });
