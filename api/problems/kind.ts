/** What is said of one way in which the API says no (problemKinds.ts). */
export interface ProblemKind {
  status: number;
  title: string;
  /** Whether the very same request may succeed later, with nothing changed by the caller. */
  retryable: boolean;
  /** What happened and what the caller can do about it. */
  meaning: string;
  /** Sent as Retry-After. */
  retryAfterSeconds?: number;
}
