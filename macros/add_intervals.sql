{#
    The boundary `count` billing intervals after `start`. Months and years keep the start's day where the month has it
    and else take its last day: from 31 January to 28 February to 31 March. Always add from the anchor, never from the
    previous boundary, or the day is lost.
#}
{% macro add_intervals(start, interval_name, interval_count, count) -%}
    (case {{ interval_name }}
        when 'year' then {{ start }} + to_months(cast(12 * {{ interval_count }} * ({{ count }}) as integer))
        when 'week' then {{ start }} + to_days(cast(7 * {{ interval_count }} * ({{ count }}) as integer))
        when 'day' then {{ start }} + to_days(cast({{ interval_count }} * ({{ count }}) as integer))
        else {{ start }} + to_months(cast({{ interval_count }} * ({{ count }}) as integer))
    end)
{%- endmacro %}

{# How many whole billing intervals lie between `start` and `instant`; null for intervals of nothing. #}
{% macro whole_intervals(start, interval_name, interval_count, instant) -%}
    (case
        when {{ interval_name }} in ('week', 'day')
            then cast(floor(
                epoch_us({{ instant }} - {{ start }})
                / nullif(86400000000.0 * {{ interval_count }} * case {{ interval_name }} when 'week' then 7 else 1 end, 0)
            ) as bigint)
        else
            (
                datediff('month', {{ start }}, {{ instant }})
                - case when {{ start }} + to_months(cast(datediff('month', {{ start }}, {{ instant }}) as integer)) > {{ instant }} then 1 else 0 end
            ) // nullif({{ interval_count }} * case {{ interval_name }} when 'year' then 12 else 1 end, 0)
    end)
{%- endmacro %}
