"""A simulated OMS, KornitX, with its callbacks (docs/kornitx.md 2 to 8).

Read the modules in this order: model, oms, api, callbacks.

Public names:
  model      OmsCompany, OmsKnobs, OmsOrder, Part, Shipment
  oms        OmsSimulator
  api        oms_app
  callbacks  Callbacks, Notification, Send
"""
