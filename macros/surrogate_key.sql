{#
    A key of ours: 32 hexadecimal digits over its parts, in order. Parts are joined by a control character that no id
    holds, and a missing part differs from an empty one.
#}
{% macro surrogate_key(parts) -%}
    md5(concat_ws(chr(31){% for part in parts %}, coalesce(cast({{ part }} as varchar), chr(30)){% endfor %}))
{%- endmacro %}
