import { minorUnits, moneyText } from '../../../domain/stripe/minorUnits';

test.each([
  [13.5, 'USD', 1350, '13.50 USD'],
  [0.29, 'USD', 29, '0.29 USD'],
  [1.1, 'EUR', 110, '1.10 EUR'],
  [999_999.99, 'USD', 99_999_999, '999999.99 USD'],
  [500, 'JPY', 500, '500 JPY'],
  [1.5, 'KWD', 1500, '1.500 KWD'],
  [500, 'ISK', 50_000, '500.00 ISK'],
])('%d %s is %d in Stripe, and read as %s', (amount, currency, minor, text) => {
  expect(minorUnits(amount, currency)).toBe(minor);
  expect(moneyText(minor, currency.toLowerCase())).toBe(text);
});

test.each([
  [33.155, 'USD', 'multiples of 0.01 USD'],
  [1.5, 'JPY', 'multiples of 1 JPY'],
  [1.505, 'KWD', 'multiples of 0.01 KWD'],
  [1.5, 'ISK', 'multiples of 1 ISK'],
])('%d %s cannot be charged, and the error says what can', (amount, currency, said) => {
  expect(() => minorUnits(amount, currency)).toThrow(said);
});
