"""From votes to posteriors: eight methods behind one interface (`methods.consensus`), over integer columns."""
