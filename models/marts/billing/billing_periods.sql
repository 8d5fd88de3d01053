select * from {{ ref('int_billing_periods_settled') }}
