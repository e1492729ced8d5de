import { isGrpcServiceError } from '@temporalio/client';

/** Whether the Temporal server, or the way to it, said no: with a gRPC status that fits, at whatever depth it is wrapped. */
export function isTemporals(error: unknown, fits: (status: number) => boolean = () => true): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (isGrpcServiceError(cause) && fits(cause.code)) return true;
  }
  return false;
}
