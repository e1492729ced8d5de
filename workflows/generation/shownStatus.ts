import { setCurrentDetails, upsertSearchAttributes } from '@temporalio/workflow';
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import type { Ended, Work } from '../../activities/types';
import { SEARCH_ATTRIBUTES } from '../../domain/contract';

/** What an operator reads in the Temporal UI: who, what, how much, from which buckets, how it ended and why. */

const keyword = (name: string) => defineSearchAttributeKey(name, SearchAttributeType.KEYWORD);

export function tellRunning(work: Work): void {
  setCurrentDetails(`${head(work)}\n\n**Running** at \`${work.provider.type}\`.`);
}

/** One upsert, at the end: every upsert is an event and a write to the visibility store. */
export function tellEnded(work: Work, ended: Ended): void {
  const { status, captured, refunded, forfeited, error } = ended;
  const why = error === null ? '' : `\n\n> \`${error.code}\` ${error.message}`;
  const end = `| captured | refunded | forfeited |\n|---|---|---|\n| ${captured} | ${refunded} | ${forfeited} |`;
  setCurrentDetails(`${head(work)}\n\n**${status}**\n\n${end}${why}`);
  upsertSearchAttributes([
    { key: keyword(SEARCH_ATTRIBUTES.account), value: work.account },
    { key: keyword(SEARCH_ATTRIBUTES.action), value: work.action },
    { key: keyword(SEARCH_ATTRIBUTES.model), value: work.model },
    { key: keyword(SEARCH_ATTRIBUTES.provider), value: work.provider.type },
    { key: keyword(SEARCH_ATTRIBUTES.status), value: status },
  ]);
}

function head(work: Work): string {
  const draws = work.draws.map(({ bucket, credits }) => `${credits} from ${bucket}`).join(', ');
  const rows = [
    ['account', work.account],
    ['member', work.member ?? '-'],
    ['work', [work.action, work.model].filter(Boolean).join(' / ')],
    ['parameters', `\`${JSON.stringify(work.params)}\``],
    ['held', `${work.creditsHeld} credits${draws === '' ? '' : ` (${draws})`}`],
    ['hold', `\`${work.holdId}\``],
  ];
  return ['| | |', '|---|---|', ...rows.map(([name, value]) => `| ${name} | ${value} |`)].join('\n');
}
