import { defineSignal, defineUpdate } from '@temporalio/workflow';
import {
  type CancelRequest,
  type ProviderReport,
  type ReportReply,
  type ReserveReply,
  SIGNALS,
  UPDATES,
} from '../../domain/contract';

export const reserveUpdate = defineUpdate<ReserveReply>(UPDATES.reserve);
export const reportUpdate = defineUpdate<ReportReply, [ProviderReport]>(UPDATES.report);
export const providerReportSignal = defineSignal<[ProviderReport]>(SIGNALS.providerReport);
export const cancelSignal = defineSignal<[CancelRequest]>(SIGNALS.cancel);
export const ringSignal = defineSignal(SIGNALS.ring);
