{#
    round_half_away(unit price x (consumed - credited)), never below 0, in exact integer arithmetic.

    Polar's quantity is a binary double turned into an exact decimal: 2.675 x 100 is 267, because the double lies just
    below 2.675. So the double is taken apart into mantissa / 2^k (both exact), the price into millionths of a millionth,
    and one integer division rounds. Null where the numbers exceed 128 bits, and
    from 10^15 minor units on: no bill is so large, and a few such amounts would overflow the sum of all others.

    unit_amount: DECIMAL(38,12) minor units per unit; consumed: DOUBLE; credited: DOUBLE holding a whole number.
#}
{% macro rate_units(unit_amount, consumed, credited='cast(0 as double)') -%}
    {%- set shift -%}
        (case when {{ consumed }} <= 0 or {{ consumed }} = floor({{ consumed }}) then 0
            else least(86, 53 - cast(floor(log2({{ consumed }})) as integer)) end)
    {%- endset -%}
    {%- set mantissa -%}
        (cast({{ consumed }} * pow(2.0, {{ shift }}) as hugeint) - (cast({{ credited }} as hugeint) << {{ shift }}))
    {%- endset -%}
    {%- set price -%}
        cast(cast({{ unit_amount }} as decimal(25, 12)) * cast(1000000000000 as decimal(13, 0)) as hugeint)
    {%- endset -%}
    {%- set divisor -%}
        ((cast(1 as hugeint) << {{ shift }}) * cast(1000000000000 as hugeint))
    {%- endset -%}
    (case
        when {{ unit_amount }} is null or {{ consumed }} is null then null
        when {{ consumed }} <= {{ credited }} then cast(0 as bigint)
        {# Below 2^-33 units no price reaches half a minor unit, and the shift would not fit. #}
        when {{ consumed }} < 1e-10 then cast(0 as bigint)
        else cast(try(cast(
            ({{ price }} * {{ mantissa }}) // {{ divisor }}
            + (case
                when ({{ price }} * {{ mantissa }}) % {{ divisor }}
                    >= {{ divisor }} - ({{ price }} * {{ mantissa }}) % {{ divisor }} then 1
                else 0
            end)
            as decimal(15, 0)
        )) as bigint)
    end)
{%- endmacro %}
