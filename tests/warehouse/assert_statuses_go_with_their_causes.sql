{#
    Each status has only the causes that explain it. A row that is not comparable without a reason, or unbilled because of
    rounding, would send its reader to the wrong place.
#}

select
    order_reconciliation_key,
    order_id,
    subscription_id,
    status,
    cause,
    variance_amount
from {{ ref('order_reconciliation') }}
where
    not case status
        when 'not_comparable' then cause in (
            'one_time', 'proration', 'missing_price', 'missing_subscription', 'incomplete_history', 'currency_mismatch'
        )
        when 'pending' then cause in ('missing_order', 'unpaid_order', 'revoked')
        when 'unbilled' then cause in ('missing_order', 'unpaid_order', 'revoked')
        when 'unexpected' then cause = 'unexplained'
        when 'matched' then cause in ('none', 'trial')
        when 'within_tolerance' then cause in ('rounding', 'cutoff_timing')
        else cause in ('late_usage', 'unexplained')
    end
    or (cause = 'unpaid_order' and order_id is null)
    or (cause in ('missing_order', 'revoked') and order_id is not null)
