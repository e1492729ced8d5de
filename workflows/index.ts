/** The bundle's entry: every workflow the worker runs. */
export { accountWorkflow } from './account';
export { generationWorkflow } from './generation';
export { sweepWorkflow } from './sweep';
