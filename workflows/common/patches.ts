/** Changes that would alter runs already under way; the histories in test/workflows/histories check that they still replay. */
export const PATCHES = {
  rejectedReportsAreKept: 'rejected-reports-are-kept',
  /** A reservation that came through after all is resumed, and not undone. */
  lateReservationsGoOn: 'late-reservations-go-on',
  /** What was reported before the deadline, and not acted upon, is acted upon at the deadline. */
  pendingReportsCount: 'pending-reports-count',
  /** A run that gives up tells the provider to stop. */
  givingUpStopsTheJob: 'giving-up-stops-the-job',
  /** A run continues as a new one before its history is too long. */
  longRunsContinue: 'long-runs-continue',
  /** What a provider answers is checked before it is used. */
  providersAreChecked: 'providers-are-checked',
  /** The answer to a report is with the server before the run closes. */
  answersComeFirst: 'answers-come-first',
  /** A run that no worker took up in time, and that can hold nothing, ends without asking the ledger. */
  doomedRunsEndAtOnce: 'doomed-runs-end-at-once',
} as const;
