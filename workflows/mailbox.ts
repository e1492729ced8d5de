import { condition } from '@temporalio/workflow';
import type { CancelRequest, ProviderReport, ReportReply } from './contract';

/** What came in for a generation: reports in order, each once, and whether somebody asked to stop. */
export class Mailbox {
  cancel: CancelRequest | null = null;
  private readonly queue: ProviderReport[] = [];
  private readonly replies = new Map<string, ReportReply>();
  private closed = false;

  /** Takes a report and answers when it was acted upon. The same report again gets the same answer. */
  async deliver(report: ProviderReport): Promise<ReportReply> {
    this.drop(report);
    await condition(() => this.replies.has(report.id) || this.closed);
    return this.replies.get(report.id) ?? { ok: false, code: 'generation_ended' };
  }

  /** Takes a report without an answer. */
  drop(report: ProviderReport): void {
    const known = this.replies.has(report.id) || this.queue.some(({ id }) => id === report.id);
    if (!known) this.queue.push(report);
  }

  get waiting(): boolean {
    return this.queue.length > 0;
  }

  next(): ProviderReport | undefined {
    return this.queue.shift();
  }

  answer(report: ProviderReport, reply: ReportReply): void {
    this.replies.set(report.id, reply);
  }

  /** From here on nothing is acted upon; what still lies here came too late. */
  close(): ProviderReport[] {
    this.closed = true;
    return this.queue.splice(0);
  }
}
