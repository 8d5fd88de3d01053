{#
    What a line's label says: Polar writes a meter's name, a dash and `(1,234.5 consumed units) x $0.10`, with the quantity
    that was billed, after credits. Null where the label has another form.
#}
{% macro units_of_label(label) -%}
    try_cast(replace(regexp_extract({{ label }}, '\(([0-9][0-9,]*(?:\.[0-9]+)?) consumed units?\)', 1), ',', '') as double)
{%- endmacro %}

{% macro meter_name_of_label(label) -%}
    nullif(regexp_extract({{ label }}, '^(.*?) *[-–—] *\([0-9][0-9,]*(?:\.[0-9]+)? consumed units?\)', 1), '')
{%- endmacro %}
