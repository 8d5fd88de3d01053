{#
    The columns that metrics are made of: what happens in a bucket and adds up, and what is there at its end. In one place,
    because facts, changes and the metrics themselves must name the same ones.
#}
{% macro metric_sums() %}
    {% set sums = [
        'order_count', 'revenue_amount', 'fee_amount', 'refund_amount', 'refund_reversal_amount', 'dispute_amount',
        'dispute_reversal_amount', 'revenue_amount_as_polar', 'net_revenue_amount_as_polar', 'one_time_order_count',
        'one_time_revenue_amount', 'one_time_net_revenue_amount', 'new_subscription_count', 'new_subscription_revenue_amount',
        'new_subscription_net_revenue_amount', 'renewed_subscription_count', 'renewed_subscription_revenue_amount',
        'renewed_subscription_net_revenue_amount', 'churned_subscription_count', 'canceled_subscription_count', 'canceled_other_count'
    ] %}
    {% do return(sums + metric_reasons_counted()) %}
{% endmacro %}


{% macro metric_levels() %}
    {% do return([
        'active_subscription_count', 'committed_subscription_count', 'trial_subscription_count', 'monthly_recurring_revenue_amount',
        'committed_monthly_recurring_revenue_amount', 'trial_monthly_recurring_revenue_amount',
        'committed_trial_monthly_recurring_revenue_amount', 'restated_recurring_revenue_amount', 'seat_count', 'claimed_seat_count',
        'active_customer_count', 'seat_customer_count'
    ]) %}
{% endmacro %}


{# The reasons a customer can give for a cancellation; all else, and none, is `other`. #}
{% macro cancellation_reasons() %}
    {% do return([
        'too_expensive', 'missing_features', 'switched_service', 'unused', 'customer_service', 'low_quality', 'too_complex'
    ]) %}
{% endmacro %}


{% macro metric_reasons_counted() %}
    {% set columns = [] %}
    {% for reason in cancellation_reasons() %}{% do columns.append('canceled_' ~ reason ~ '_count') %}{% endfor %}
    {% do return(columns) %}
{% endmacro %}
