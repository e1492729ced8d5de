import { z } from 'zod';
import type { RefundOperation, Reply } from '../../../db/ledger/operations';
import { balanceLimitReached, invalidField, keyConflict } from '../../problems/common';
import { ProblemError } from '../../problems/problem';
import { creditsIn, instantIn, reason } from '../../routing/schemas';
import { defined } from '../../../domain/defined';

/** Giving captured credits back, of a generation, a hold or a charge alike. */

/** An administrator's refund into a lot that has expired stays spendable this long, unless told otherwise (rule 14). */
const SPENDABLE_SECONDS = 30 * 86_400;

export const refund = z.strictObject({
  credits: creditsIn.optional().describe('Without it, all that was captured and not refunded yet'),
  reason,
  expiresAt: instantIn
    .optional()
    .describe(
      'The new end of credits from lots that have expired; by default 30 days from now. Not for credits of a lot that still lives',
    ),
});

export function refundOperation(options: {
  key: string;
  hash: string;
  holdId: string;
  actor: string;
  asked: z.output<typeof refund>;
}): RefundOperation {
  const { key, hash, holdId, actor, asked } = options;
  return {
    op: 'refund',
    key: `req:${key}`,
    hash,
    holdId,
    ...defined({ amount: asked.credits }),
    ...(asked.expiresAt === undefined
      ? { spendableSeconds: SPENDABLE_SECONDS }
      : { expiresAt: asked.expiresAt.toISOString() }),
    actor,
    reason: asked.reason,
  };
}

export function exceedsCaptured(): ProblemError {
  return new ProblemError('refund_exceeds_captured', {
    detail: 'A refund gives back at most what was captured and not refunded yet.',
  });
}

/** Why a refund moved nothing; undefined: it is none of a refund's own reasons. */
export function refundRefusal(status: Reply['status'] | undefined): ProblemError | undefined {
  switch (status) {
    case 'idempotency_conflict':
      return keyConflict();
    case 'refund_exceeds_captured':
      return exceedsCaptured();
    case 'balance_limit_reached':
      return balanceLimitReached();
    case 'already_expired':
      return invalidField(
        'expiresAt',
        'Credits that are given back must be spendable: this lies in the past.',
      );
    case 'lot_lives':
      return invalidField(
        'expiresAt',
        'These credits return to a lot that still lives, and end with it: leave expiresAt out. To give credits with an end of their own, adjust the account.',
      );
    default:
      return undefined;
  }
}
