import { type AccountRouteDeps, accountRoutes } from './resources/accounts';
import { type ApiKeyRouteDeps, apiKeyRoutes } from './resources/apiKeys';
import { type CatalogRouteDeps, catalogRoutes } from './resources/catalogs';
import { estimateRoutes } from './resources/estimates';
import { type GenerationRouteDeps, generationRoutes } from './resources/generations';
import { type HoldRouteDeps, holdRoutes } from './resources/holds';
import { type LateReportRouteDeps, lateReportRoutes } from './resources/lateReports';
import { type LedgerRouteDeps, ledgerRoutes } from './resources/ledger';
import { type MemberRouteDeps, memberRoutes } from './resources/members';
import { type LostNamespaceRouteDeps, lostNamespaceRoutes } from './resources/lostNamespaces';
import { type OperationRouteDeps, operationRoutes } from './resources/operations';
import { type PlanRouteDeps, planRoutes } from './resources/plans';
import { type OperationsItemRouteDeps, operationsItemRoutes } from './resources/operationsItems';
import { type PriceRouteDeps, priceRoutes } from './resources/prices';
import { type PurchaseRouteDeps, purchaseRoutes } from './resources/purchases';
import { quoteRoutes } from './resources/quoting';
import { type ReportRouteDeps, reportRoutes } from './resources/reports';
import { type RepairRouteDeps, repairRoutes } from './resources/repairs';
import { type StandingRouteDeps, standingRoutes } from './resources/standing';
import { type StatementRouteDeps, statementRoutes } from './resources/statement';
import { type EventRouteDeps, eventRoutes } from './resources/events';
import { type TestClockRouteDeps, testClockRoutes } from './resources/testClocks';
import { type UsageRouteDeps, usageRoutes } from './resources/usage';
import type { Route } from './route';

/** What the handlers of all resources need. */
export type RouteDeps = AccountRouteDeps &
  ApiKeyRouteDeps &
  CatalogRouteDeps &
  EventRouteDeps &
  GenerationRouteDeps &
  HoldRouteDeps &
  LateReportRouteDeps &
  LedgerRouteDeps &
  LostNamespaceRouteDeps &
  MemberRouteDeps &
  OperationRouteDeps &
  PlanRouteDeps &
  OperationsItemRouteDeps &
  PriceRouteDeps &
  PurchaseRouteDeps &
  RepairRouteDeps &
  ReportRouteDeps &
  StandingRouteDeps &
  StatementRouteDeps &
  TestClockRouteDeps &
  UsageRouteDeps;

/** The routes table: everything Holdfast answers under /v1, in the order of the docs page. */
export function createRoutes(deps: RouteDeps): readonly Route[] {
  return [
    ...accountRoutes(deps),
    ...memberRoutes(deps),
    ...standingRoutes(deps),
    ...planRoutes(deps),
    ...purchaseRoutes(deps),
    ...catalogRoutes(deps),
    ...priceRoutes(deps),
    ...quoteRoutes(deps),
    ...estimateRoutes(deps),
    ...generationRoutes(deps),
    ...reportRoutes(deps),
    ...repairRoutes(deps),
    ...lateReportRoutes(deps),
    ...holdRoutes(deps),
    ...operationRoutes(deps),
    ...operationsItemRoutes(deps),
    ...lostNamespaceRoutes(deps),
    ...ledgerRoutes(deps),
    ...statementRoutes(deps),
    ...eventRoutes(deps),
    ...testClockRoutes(deps),
    ...usageRoutes(deps),
    ...apiKeyRoutes(deps),
  ];
}
