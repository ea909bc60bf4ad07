"""Mirakl and KornitX over HTTP, behind `ports.Marketplace` and `ports.Oms`.

Read in this order:

- http: one call, timed and counted once, with a name for every way in which it can fail. `CallOutcome`
- mirakl: one shop at one marketplace. `MiraklShop`
- mirakl_text: the HTML of customers' messages as plain text
- kornitx: the call that imports an order. `KornitX`
- kornitx_order: an order of Mirakl as KornitX takes it. `build_payload`, which KornitX.payload calls
- countries: country codes from codes and names
"""
