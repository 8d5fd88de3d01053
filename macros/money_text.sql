{# Minor units as text in major ones with their currency, for a sentence: 2400 and 2 digits are `24.00 usd`. #}
{% macro money_text(amount, minor_unit_digits, currency) -%}
    concat(
        case when {{ amount }} < 0 then '-' end,
        case
            when coalesce({{ minor_unit_digits }}, 0) = 0 then cast(abs({{ amount }}) as varchar)
            else concat(
                cast(abs({{ amount }}) // cast(pow(10, {{ minor_unit_digits }}) as bigint) as varchar), '.',
                lpad(cast(abs({{ amount }}) % cast(pow(10, {{ minor_unit_digits }}) as bigint) as varchar), {{ minor_unit_digits }}, '0')
            )
        end,
        ' ' || {{ currency }}
    )
{%- endmacro %}
