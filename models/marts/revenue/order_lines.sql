select
    order_line_key,
    order_key,
    order_id,
    organization_id,
    label,
    line_type,
    meter_id,
    price_id,
    amount,
    currency,
    units
from {{ ref('int_order_lines_priced') }}
