// Types of preact.js, as far as the pages need them.

export interface Signal<T> { value: T; peek(): T }
export interface ReadonlySignal<T> { readonly value: T; peek(): T }
export interface VNode { readonly type: unknown }
export type Child = VNode | string | number | boolean | null | undefined | ReadonlySignal<string | number> | Child[];
export type Component<P> = (props: P) => Child;

export function h(type: unknown, props: object | null, ...children: Child[]): VNode;
export function html(strings: TemplateStringsArray, ...values: unknown[]): VNode;
export function render(child: Child, into: Element): void;
export const Fragment: Component<object>;

export function signal<T>(value: T): Signal<T>;
export function computed<T>(of: () => T): ReadonlySignal<T>;
export function effect(run: () => void | (() => void)): () => void;
export function batch<T>(run: () => T): T;
export function untracked<T>(run: () => T): T;

export function useSignal<T>(value: T): Signal<T>;
export function useComputed<T>(of: () => T): ReadonlySignal<T>;
export function useState<T>(value: T): [T, (value: T) => void];
export function useRef<T>(value: T): { current: T };
export function useEffect(run: () => void | (() => void), inputs?: readonly unknown[]): void;
export function useLayoutEffect(run: () => void | (() => void), inputs?: readonly unknown[]): void;
