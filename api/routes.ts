import { type AccountRouteDeps, accountRoutes } from './resources/accounts/accounts';
import { type ApiKeyRouteDeps, apiKeyRoutes } from './resources/operations/apiKeys';
import { type CatalogRouteDeps, catalogRoutes } from './resources/catalogs/catalogs';
import { estimateRoutes } from './resources/catalogs/estimates';
import { type GenerationRouteDeps, generationRoutes } from './resources/generations/generations';
import { type HoldRouteDeps, holdRoutes } from './resources/generations/holds';
import { type LateReportRouteDeps, lateReportRoutes } from './resources/generations/lateReports';
import { type LedgerRouteDeps, ledgerRoutes } from './resources/books/journal';
import { type MemberRouteDeps, memberRoutes } from './resources/accounts/members';
import { type LostNamespaceRouteDeps, lostNamespaceRoutes } from './resources/operations/lostNamespaces';
import { type OperationRouteDeps, operationRoutes } from './resources/operations/operations';
import { type PlanRouteDeps, planRoutes } from './resources/accounts/plans';
import { type OperationsItemRouteDeps, operationsItemRoutes } from './resources/operations/items';
import { type PriceRouteDeps, priceRoutes } from './resources/catalogs/prices';
import { type PurchaseRouteDeps, purchaseRoutes } from './resources/accounts/purchases';
import { quoteRoutes } from './resources/generations/quotes';
import { type ReportRouteDeps, reportRoutes } from './resources/generations/reports';
import { type RepairRouteDeps, repairRoutes } from './resources/generations/lifecycle';
import { type StandingRouteDeps, standingRoutes } from './resources/accounts/standing';
import { type StatementRouteDeps, statementRoutes } from './resources/books/statement';
import { type EventRouteDeps, eventRoutes } from './resources/books/events';
import { type TestClockRouteDeps, testClockRoutes } from './resources/operations/testClocks';
import { type UsageRouteDeps, usageRoutes } from './resources/books/usage';
import type { Route } from './routing/route';

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
