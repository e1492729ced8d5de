import { condition } from '@temporalio/workflow';
import type { CancelRequest, ProviderReport, ReportReply } from '../../domain/contract';

/** A report, and whether somebody waits for what becomes of it. */
export interface Delivery {
  report: ProviderReport;
  heard: boolean;
}

/** What came in for a generation: reports in order, each once, and whether somebody asked to stop. */
export class Mailbox {
  cancel: CancelRequest | null = null;
  /** Whether anybody was given an answer, which the server must have before the run may close. */
  answered = false;
  private readonly queue: Delivery[] = [];
  private readonly replies = new Map<string, ReportReply>();
  private closed = false;

  /** Takes a report and answers when it was acted upon. The same report again gets the same answer. */
  async deliver(report: ProviderReport): Promise<ReportReply> {
    this.put({ report, heard: true });
    await condition(() => this.replies.has(report.id) || this.closed);
    this.answered = true;
    return this.replies.get(report.id) ?? { ok: false, code: 'generation_ended' };
  }

  /** Takes a report that nobody waits for. */
  drop(report: ProviderReport): void {
    this.put({ report, heard: false });
  }

  private put(delivery: Delivery): void {
    const { id } = delivery.report;
    const known = this.replies.has(id) || this.queue.some(({ report }) => report.id === id);
    if (!known) this.queue.push(delivery);
  }

  get waiting(): boolean {
    return this.queue.length > 0;
  }

  next(): Delivery | undefined {
    return this.queue.shift();
  }

  answer(report: ProviderReport, reply: ReportReply): void {
    this.replies.set(report.id, reply);
  }

  /** From here on nothing is acted upon; what still lies here came too late. */
  close(): ProviderReport[] {
    this.closed = true;
    return this.queue.splice(0).map(({ report }) => report);
  }
}
