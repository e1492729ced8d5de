// What a client made from /openapi.json does in Go: the same steps as the programs beside it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	holdfast "holdfast.example/client"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	account := os.Getenv("HOLDFAST_ACCOUNT")
	configuration := holdfast.NewConfiguration()
	configuration.Servers = holdfast.ServerConfigurations{{URL: os.Getenv("HOLDFAST_URL")}}
	client := holdfast.NewAPIClient(configuration)
	ctx := context.WithValue(context.Background(), holdfast.ContextAccessToken, os.Getenv("HOLDFAST_KEY"))

	catalog, _, err := client.PricesAPI.GetCatalogsCatalog(ctx, "atelier").Execute()
	check(err)
	question := holdfast.NewPostQuotesRequest(*holdfast.NewNullableString(&account), "image")
	quote, _, err := client.PricesAPI.PostQuotes(ctx).PostQuotesRequest(*question).Execute()
	check(err)
	order := holdfast.NewGenerationRequest(account, "image")
	order.SetQuote(quote.GetId())
	started, _, err := client.GenerationsAPI.PostGenerations(ctx).IdempotencyKey("from-go").GenerationRequest(*order).Execute()
	check(err)
	ended, _, err := client.GenerationsAPI.GetGenerationsId(ctx, started.GetId()).Wait(20).Execute()
	check(err)
	balance, _, err := client.BalanceAPI.GetAccountsIdBalance(ctx, account).Execute()
	check(err)
	usage, _, err := client.LedgerAPI.GetUsage(ctx).Account(account).GroupBy("action,member").Execute()
	check(err)

	_, _, err = client.BalanceAPI.GetAccountsIdBalance(ctx, "nobody").Execute()
	var refused *holdfast.GenericOpenAPIError
	if !errors.As(err, &refused) {
		panic(err)
	}
	problem, isProblem := refused.Model().(holdfast.Problem)
	if !isProblem {
		panic(fmt.Sprintf("%T", refused.Model()))
	}

	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"plan":      catalog.GetPlans()[0].GetPlan(),
		"quoted":    quote.GetCredits(),
		"status":    ended.GetStatus(),
		"captured":  ended.GetCredits().Captured,
		"available": balance.GetAvailable(),
		"used":      usage.GetData()[0].GetKey(),
		"problem":   problem.GetCode(),
	}))
}
