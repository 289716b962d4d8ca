"""Check again whether the URLs of a build or a list still give the same images: a ledger of link rot by date."""
