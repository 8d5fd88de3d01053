{#
    A key of ours: a UUID, the hash over its parts, in order. Parts are joined by a control character that no id holds, and
    a missing part differs from an empty one. A UUID is 16 bytes: as text, keys were a third of what a build wrote.
    `key_text` is the same key as 32 hexadecimal digits, which is how it is published and how it is a part of others.
#}
{% macro surrogate_key(parts) -%}
    cast(md5(concat_ws(chr(31)
        {%- for part in parts -%}
            , coalesce({{ text_of(part) }}, chr(30))
        {%- endfor %})) as uuid)
{%- endmacro %}


{# A column or part as text: a key as it is published. #}
{% macro text_of(expression) -%}
    {{ key_text(expression) if expression.endswith('_key') else 'cast(' ~ expression ~ ' as varchar)' }}
{%- endmacro %}


{#
    A key as it is published. That of an event is the landed record's, with its hyphens. `loaders/published_tables.py` writes
    the same.
#}
{% macro key_text(key) -%}
    {%- if key.endswith('event_key') -%}
        cast({{ key }} as varchar)
    {%- elif key.endswith('member_key') -%}
        case when {{ key }} = {{ unattributed() }} then 'unattributed' else replace(cast({{ key }} as varchar), '-', '') end
    {%- else -%}
        replace(cast({{ key }} as varchar), '-', '')
    {%- endif -%}
{%- endmacro %}


{# The `member_key` of usage without a member: a key that no hash is likely to be, and that sorts last. #}
{% macro unattributed() -%}
    cast('ffffffff-ffff-ffff-ffff-ffffffffffff' as uuid)
{%- endmacro %}
