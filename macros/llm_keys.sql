{# What Polar defines of `_llm` but the prompt and the response: all of `_llm` that is published. #}
{% macro llm_keys() %}
    {% do return(['vendor', 'model', 'input_tokens', 'cached_input_tokens', 'output_tokens', 'total_tokens']) %}
{% endmacro %}


{# A JSON text without what `_llm` may hold of a person's: whatever is not one of Polar's counts and names. #}
{% macro publishable_metadata(metadata) %}
    case
        {#- No JSON is read for what has no such key; DuckDB writes a key that came with escapes without them. #}
        when not contains({{ metadata }}, '_llm') or not json_exists({{ metadata }}, '$._llm') then {{ metadata }}
        when json_type({{ metadata }}, '$._llm') != 'OBJECT' then cast(json_merge_patch({{ metadata }}, '{"_llm": null}') as varchar)
        else cast(json_merge_patch(
            json_merge_patch({{ metadata }}, '{"_llm": null}'),
            json_object('_llm', json_object(
                {%- for key in llm_keys() %}
                '{{ key }}', case
                    when json_type({{ metadata }}, '$._llm.{{ key }}') not in ('OBJECT', 'ARRAY')
                        then json_extract({{ metadata }}, '$._llm.{{ key }}')
                end{{ "," if not loop.last }}
                {%- endfor %}
            ))
        ) as varchar)
    end
{% endmacro %}
