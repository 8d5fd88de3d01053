select
    price_key,
    price_id,
    product_id,
    meter_id,
    organization_id,
    price_type,
    unit_amount,
    tiers,
    cap_amount,
    currency,
    valid_from,
    valid_to
from {{ ref('int_prices_known') }}
where amount_type in ('metered_unit', 'metered_tiers')
