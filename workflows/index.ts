/** The bundle's entry: every workflow the worker runs. */
export { accountWorkflow } from './account';
export { clockWorkflow } from './clock';
export { generationWorkflow } from './generation/generation';
export { sweepWorkflow } from './sweep';
