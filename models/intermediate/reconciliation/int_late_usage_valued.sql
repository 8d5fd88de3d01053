{#
    One row per billing period with usage on the other side of the two clocks: what the period's amount would be more if
    usage that occurred in it and was received after it were added (out), usage that was received in it and occurred
    before it were taken away (in), or both. A variance that equals one of these is explained by the events of late_usage.
#}

select
    billing_period_key,
    cast(sum(late_out_amount) as bigint) as late_out_amount,
    cast(sum(late_in_amount) as bigint) as late_in_amount,
    cast(sum(late_both_amount) as bigint) as late_both_amount
from {{ ref('int_metered_quantities') }}
where late_both_amount is not null
group by billing_period_key
