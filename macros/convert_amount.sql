{#
    An amount times a ratio, rounded once to whole minor units, in integers: a rate that went through a double would move
    cents. `half` says where a half goes: `even`, as Polar rounds revenue, or `away` from zero. Null from 10^15 on.

    The product is looked at as a double first: what is computed in try() twice is computed outside of it (DuckDB 2.0).

    amount, numerator, denominator: whole numbers; the denominator positive.
#}
{% macro convert_amount(amount, numerator, denominator, half='even') -%}
    {%- set product -%} (cast({{ amount }} as hugeint) * cast({{ numerator }} as hugeint)) {%- endset -%}
    {%- set divisor -%} cast({{ denominator }} as hugeint) {%- endset -%}
    {%- set estimate -%} abs(cast({{ amount }} as double) * cast({{ numerator }} as double)) {%- endset -%}
    (case when {{ estimate }} < 1e37 and {{ estimate }} < 1e15 * cast({{ denominator }} as double) then cast(
        sign({{ product }}) * (
            abs({{ product }}) // {{ divisor }}
            + case
                when 2 * (abs({{ product }}) % {{ divisor }}) > {{ divisor }} then 1
                when 2 * (abs({{ product }}) % {{ divisor }}) = {{ divisor }}
                    then {{ 'abs(' ~ product ~ ') // ' ~ divisor ~ ' % 2' if half == 'even' else '1' }}
                else 0
            end
        ) as bigint
    ) end)
{%- endmacro %}


{#
    A DECIMAL(38,12) as a whole number of millionths of a millionth, for `convert_amount` with `rate_unit`. Its whole part
    apart from the rest: the product of both would not fit a DECIMAL.
#}
{% macro rate_numerator(rate) -%}
    (cast(trunc({{ rate }}) as hugeint) * {{ rate_unit() }}
    + cast(cast({{ rate }} - trunc({{ rate }}) as decimal(25, 12)) * cast(1000000000000 as decimal(13, 0)) as hugeint))
{%- endmacro %}

{% macro rate_unit() -%} cast(1000000000000 as hugeint) {%- endmacro %}


{#
    What an amount per interval is a month, as Polar's recurring revenue has it: a year is 12 months, 52 weeks and 365
    days. Rounded once, a half away from zero.
#}
{% macro monthly_amount(amount, interval_name, interval_count) -%}
    {{ convert_amount(
        amount,
        "case " ~ interval_name ~ " when 'week' then 52 when 'day' then 365 else 1 end",
        "(case " ~ interval_name ~ " when 'month' then 1 else 12 end * greatest(coalesce(" ~ interval_count ~ ", 1), 1))",
        half='away'
    ) }}
{%- endmacro %}
