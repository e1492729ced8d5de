import type StripeSdk from 'stripe';
import { createStripe, type StripeSettings } from '../../activities/stripe/client';
import { endProcess, startNode } from './processes/processes';

/** A Stripe of a test's own: the stand-in as a process, and the real SDK on it. */

export interface StandIn {
  settings: StripeSettings;
  stripe: StripeSdk;
  stop(): Promise<void>;
}

export async function startStandIn(): Promise<StandIn> {
  const env = { PATH: process.env['PATH'] ?? '' };
  const { child, match } = await startNode(['dev/stripe/standIn.mjs'], { env, ready: /^(http:\S+)$/m });
  const settings = { secretKey: 'sk_test_standin', base: match[1] };
  return { settings, stripe: createStripe(settings), stop: () => endProcess(child) };
}
