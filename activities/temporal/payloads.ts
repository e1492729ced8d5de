import type { DataConverter } from '@temporalio/common';

/**
 * The one data converter of client, worker and replay: JSON as Temporal's default makes it. A codec that
 * encrypts payloads is added here and nowhere else.
 */
export const dataConverter: DataConverter = { payloadCodecs: [] };
