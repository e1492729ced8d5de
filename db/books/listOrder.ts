/**
 * The order of lists by time. A cursor passes through a JavaScript Date, so the order has whole milliseconds too; said in exactly these
 * words, an index has it (0017). For a timestamptz as it is, `date_trunc` depends on the session's zone, and fits no index.
 */
export const inMs = (column: string) => `date_trunc('milliseconds', ${column} AT TIME ZONE 'UTC')`;

/** An instant to compare it with, as a binding. */
export const MS = "(?::timestamptz AT TIME ZONE 'UTC')";
